//! `make run ONCE=1`, as a newcomer starts it.

use std::net::{Ipv4Addr, TcpListener};

use tokio::process::Command;

const RUNNER: &str = env!("CARGO_BIN_EXE_local-world");

/// Exit status and output of the runner with these variables set.
#[expect(clippy::unwrap_used, reason = "a runner that cannot be started is a failed test")]
async fn played(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(RUNNER);
    let output = command.envs(variables.iter().copied()).output().await.unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn every_step_of_the_stories_holds() {
    let (status, told) = played(&[("ONCE", "1"), ("PORT", "0")]).await;
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("20 of 20 steps held"), "{told}");
    assert!(!told.contains('\u{1b}'), "colours are for terminals:\n{told}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_cure() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let (status, told) = played(&[("ONCE", "1"), ("PORT", &port)]).await;
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains(&format!("Port {port}, meant for Entra, is taken.")),
        "{told}"
    );
    assert!(told.contains("PORT="), "{told}");
}
