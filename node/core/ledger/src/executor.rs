//! How the independent parts of one step run: the driver has threads, this crate has none.

/// Runs tasks that do not depend on each other.
pub trait Executor {
    /// Runs every task, in any order and on any threads, and returns when all are done.
    fn run<'scope>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'scope>>);
}

/// Runs one task after the other on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Executor for Inline {
    fn run<'scope>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'scope>>) {
        for task in tasks {
            task();
        }
    }
}

/// Transactions that are worth a task of their own: below, handing work over costs more than it saves.
/// Tests share even the smallest block out.
const TASK_TXS_MIN: usize = if cfg!(test) { 1 } else { 128 };
/// Tasks of one step; a few for each thread even out their sizes.
const TASKS_MAX: usize = 16;

/// Runs `work` on every item, in as many tasks as a block of `txs` transactions is worth.
pub(crate) fn run_each<T: Send>(
    executor: &dyn Executor,
    txs: usize,
    items: impl ExactSizeIterator<Item = T>,
    work: impl Fn(T) + Sync,
) {
    let tasks = (txs / TASK_TXS_MIN).clamp(1, TASKS_MAX);
    if tasks == 1 {
        items.for_each(work);
        return;
    }
    let per_task = items.len().div_ceil(tasks);
    let work = &work;
    let mut items = items.peekable();
    let mut boxed: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::with_capacity(tasks);
    while items.peek().is_some() {
        let group: Vec<T> = items.by_ref().take(per_task).collect();
        boxed.push(Box::new(move || group.into_iter().for_each(work)));
    }
    executor.run(boxed);
}
