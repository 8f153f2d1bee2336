//! Programs that are started together with whatever they start themselves, and end together.

use std::io;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A process group; its members are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

/// Starts a program as the first of a group of its own: `make` starts shells, they start Terraform, it starts plug-ins.
pub(crate) fn spawn(command: &mut Command) -> io::Result<(Child, Group)> {
    let child = command.process_group(0).spawn()?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok((child, Group(leader)))
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Most have ended by themselves, and then there is nobody to kill.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
