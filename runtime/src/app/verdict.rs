//! Whether a runtime ends, and with which code: the rules of `wasi:cli/run`.
//!
//! | a module | leaves |
//! |---|---|
//! | without callbacks | when its `run` has returned |
//! | with callbacks | never, but with `--exit-after-run` it does not keep the runtime |
//!
//! A failed `run` ends the runtime with its code unless other modules serve; a controller whose own modules are done
//! stays for the nodes of others.

/// What a module does.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModuleState {
    has_callbacks: bool,
    run: Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    None,
    /// It runs, or will once the node is connected.
    Ahead,
    Ended(u8),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Serve,
    /// End with this code.
    End(u8),
}

impl ModuleState {
    pub(super) fn new(has_callbacks: bool, has_run: bool) -> Self {
        Self { has_callbacks, run: if has_run { Run::Ahead } else { Run::None } }
    }

    /// Its `run` ended with this code.
    pub(super) fn ran(&mut self, code: u8) {
        self.run = Run::Ended(code);
    }

    /// Whether it has nothing left to do.
    pub(super) fn is_over(self) -> bool {
        matches!(self.run, Run::Ended(_)) && !self.has_callbacks
    }

    /// Whether it keeps the runtime.
    fn keeps(self, exit_after_run: bool) -> bool {
        match self.run {
            Run::Ahead => true,
            // A failed run does not serve on alone: its callbacks may depend on what it did.
            Run::Ended(code) => code == 0 && self.has_callbacks && !exit_after_run,
            Run::None => !exit_after_run,
        }
    }
}

/// Decides. `others` is how many nodes of other runtimes are connected here, where this is the controller.
pub(super) fn decide(modules: &[ModuleState], exit_after_run: bool, others: Option<usize>) -> Verdict {
    // A runtime of which nothing ever ends by itself: a stand-alone controller, or modules without `run`.
    let ended = modules.iter().any(|module| matches!(module.run, Run::Ended(_)));
    if !ended || modules.iter().any(|module| module.keeps(exit_after_run)) || others.is_some_and(|others| others > 0) {
        return Verdict::Serve;
    }
    let codes = modules.iter().filter_map(|module| match module.run {
        Run::Ended(code) => Some(code),
        Run::None | Run::Ahead => None,
    });
    Verdict::End(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(has_callbacks: bool, run: Run) -> ModuleState {
        ModuleState { has_callbacks, run }
    }

    #[test]
    fn a_module_without_callbacks_ends_the_runtime_when_its_run_returns() {
        assert_eq!(decide(&[module(false, Run::Ahead)], false, None), Verdict::Serve);
        assert_eq!(decide(&[module(false, Run::Ended(0))], false, None), Verdict::End(0));
        assert_eq!(decide(&[module(false, Run::Ended(7))], false, None), Verdict::End(7));
    }

    #[test]
    fn a_module_with_callbacks_serves_on_unless_told_otherwise() {
        let modules = [module(true, Run::Ended(0))];
        assert_eq!(decide(&modules, false, None), Verdict::Serve);
        assert_eq!(decide(&modules, true, None), Verdict::End(0));
        assert_eq!(decide(&[module(true, Run::None)], false, None), Verdict::Serve);
    }

    #[test]
    fn a_failure_ends_the_runtime_unless_other_modules_serve() {
        let failed = module(true, Run::Ended(134));
        assert_eq!(decide(&[failed], false, None), Verdict::End(134));
        assert_eq!(decide(&[failed, module(true, Run::None)], false, None), Verdict::Serve);
        assert_eq!(decide(&[failed, module(false, Run::Ahead)], false, None), Verdict::Serve);
        assert_eq!(decide(&[failed, module(false, Run::Ended(0))], false, None), Verdict::End(134));
    }

    #[test]
    fn exit_after_run_waits_for_all_runs_and_for_no_callbacks() {
        let modules = [module(true, Run::None), module(false, Run::Ended(0))];
        assert_eq!(decide(&modules, true, None), Verdict::End(0));
        let modules = [module(true, Run::Ahead), module(false, Run::Ended(0))];
        assert_eq!(decide(&modules, true, None), Verdict::Serve);
    }

    #[test]
    fn a_controller_stays_for_the_nodes_of_others_once_its_own_run_is_over() {
        let modules = [module(false, Run::Ended(0))];
        assert_eq!(decide(&modules, false, Some(2)), Verdict::Serve);
        assert_eq!(decide(&modules, false, Some(0)), Verdict::End(0));
        assert_eq!(decide(&[], false, Some(0)), Verdict::Serve, "a controller of its own ends by a signal");
        assert_eq!(decide(&[module(true, Run::None)], true, Some(0)), Verdict::Serve, "nothing was to run");
    }
}
