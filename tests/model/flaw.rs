//! What a controller could do wrong: to see that the model would find it.

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It works as it does.
    None,
    /// No freeze is ever gathered.
    FreezesAreForgotten,
    /// It sends what stands marked nowhere.
    SendsUnmarked,
    /// It sends again while what came of the first send isn't known.
    SendsAgainAtOnce,
    /// It sends on what it decided on, and reads nothing anew.
    ReadsNothingAnew,
    /// It writes statuses whatever was written since.
    OverwritesEnds,
    /// It records no table of gates.
    NamesNoGate,
}
