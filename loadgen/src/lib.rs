//! Open-loop load generator: measures from the intended send time, balances its accounts, gives a verdict.
