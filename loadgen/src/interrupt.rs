//! Ctrl-C and SIGTERM: the first ends the load and keeps a partial report, the second ends everything at once.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of Ctrl-C.
pub const EXIT_INTERRUPT: i32 = 130;
/// Exit code of SIGTERM.
pub const EXIT_TERMINATE: i32 = 143;

/// What to clean up when the program ends before there is anything to report.
#[derive(Clone, Debug, Default)]
struct Leftovers {
    process: Option<u32>,
    folder: Option<PathBuf>,
}

/// State shared with the task that waits for signals.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    code: Arc<AtomicI32>,
    stop: Arc<AtomicBool>,
    is_loading: Arc<AtomicBool>,
    leftovers: Arc<Mutex<Leftovers>>,
}

impl Interrupt {
    /// Starts to wait for signals.
    ///
    /// # Errors
    /// When the operating system refuses the handlers.
    pub fn watch(runtime: &Runtime) -> std::io::Result<Self> {
        let state = Self::default();
        let _guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shared = state.clone();
        runtime.spawn(async move {
            loop {
                let code = tokio::select! {
                    _ = interrupt.recv() => EXIT_INTERRUPT,
                    _ = terminate.recv() => EXIT_TERMINATE,
                };
                shared.arrived(code);
            }
        });
        Ok(state)
    }

    fn arrived(&self, code: i32) {
        let is_first = self.code.swap(code, Ordering::AcqRel) == 0;
        self.stop.store(true, Ordering::Release);
        if is_first && self.is_loading.load(Ordering::Acquire) {
            return;
        }
        self.clean_up();
        std::process::exit(code);
    }

    /// Ends the child and removes its data.
    fn clean_up(&self) {
        let leftovers = self
            .leftovers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let process = leftovers
            .process
            .and_then(|process| i32::try_from(process).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(process) = process {
            // Already ended is as good.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
        if let Some(folder) = leftovers.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// From here on the first signal ends the load, and a report is written.
    pub fn set_loading(&self) {
        self.is_loading.store(true, Ordering::Release);
    }

    /// What to clean up when a signal ends the program.
    pub fn set_leftovers(&self, process: Option<u32>, folder: Option<PathBuf>) {
        let mut leftovers = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
        *leftovers = Leftovers { process, folder };
    }

    /// Ends the load, by a signal or by `--abort-on`.
    #[must_use]
    pub fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Exit code of the signal that came, if one did.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self.code.load(Ordering::Acquire) {
            0 => None,
            code => Some(code),
        }
    }
}
