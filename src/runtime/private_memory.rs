//! Keeps the process's memory to itself: keys and tokens are in it, and must not end in a file. Touches the process's own
//! limits.
//!
//! No core is written, whatever the limits of whoever started us; and on Linux nobody but root may attach to the process
//! or read its memory and environment below `/proc`.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why the memory isn't private.
#[derive(Debug, thiserror::Error)]
pub enum ExposedMemory {
    /// The limit can't be set.
    #[error("core dumps can't be switched off (RLIMIT_CORE), and they would hold secrets")]
    CoreDumps(#[source] io::Error),
    /// The mark can't be set.
    #[error(
        "the process can't be marked as not dumpable (PR_SET_DUMPABLE), so others could read secrets in its memory"
    )]
    Dumpable(#[source] io::Error),
}

impl ExposedMemory {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::CoreDumps(_) => "core-dumps",
            Self::Dumpable(_) => "dumpable",
        }
    }
}

/// From now on, and for good: no core dumps, and no debugger. To be called before any secret is read.
///
/// # Errors
/// [`ExposedMemory`] where the operating system doesn't do it.
pub fn keep() -> Result<(), ExposedMemory> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(|error| ExposedMemory::CoreDumps(error.into()))?;
    let limit = getrlimit(Resource::Core);
    if limit.current != Some(0) || limit.maximum != Some(0) {
        return Err(ExposedMemory::CoreDumps(io::Error::other(
            "the limit was set and isn't there",
        )));
    }
    undumpable().map_err(ExposedMemory::Dumpable)
}

#[cfg(target_os = "linux")]
fn undumpable() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if dumpable_behavior()? == DumpableBehavior::NotDumpable {
        Ok(())
    } else {
        Err(io::Error::other("it was marked and the mark isn't there"))
    }
}

/// Elsewhere there is no such mark.
#[cfg(not(target_os = "linux"))]
fn undumpable() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_private_from_then_on_and_asking_twice_does_no_harm() {
        for _ in 0..2 {
            keep().unwrap();
            let limit = getrlimit(Resource::Core);
            assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
            #[cfg(target_os = "linux")]
            assert_eq!(
                rustix::process::dumpable_behavior().unwrap(),
                rustix::process::DumpableBehavior::NotDumpable
            );
        }
        // For good: the hard limit can't be raised again, but by root.
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        if !rustix::process::geteuid().is_root() {
            setrlimit(Resource::Core, unlimited).unwrap_err();
        }
    }
}
