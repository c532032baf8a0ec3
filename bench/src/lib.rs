//! Criterion kernels and regression comparisons.
