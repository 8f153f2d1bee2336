//! What the person may set, from arguments and environment.
//!
//! Knows: names, forms, defaults. Guarantee: what is not understood is named with what would be, and a taken port is
//! named before anything starts.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
The local world: Partner Center, Dynamics 365, Entra and the AWS services as
simulators on this machine, with the compiled functions of the connector between
them. No account, no Docker, no network.

It plays the stories of the replaced product's manual and more, prints what happens
on both sides, then prints addresses and curl lines and stays up until Ctrl-C.

  make run               build, play, stay up
  make run ONCE=1        build, play, end: status 0 when every step held, else 1
  make run PORT=9000     use the ports 9000 to 9007 instead of 7070 to 7077

Without make:

  cargo build -p webhook -p sync -p registration
  cargo run -p cosell-tests --bin local-world -- [--once] [--help]

Environment:

  ONCE       1 ends after the stories, as --once does; 0 or empty stays up
  PORT       first of eight ports that follow each other; 0 takes any free ones
             (default 7070)
  RUST_LOG   how much the function sync writes to its log: error, warn, info,
             debug, trace, or target=level pairs (default info)
  NO_COLOR   anything but empty: no colours; none either when the output is not
             a terminal

Exit status: 0 when every step held, 1 when one did not or the world could not
start, 2 when an argument or a variable is not understood, 130 when interrupted
before the end of the stories.";

/// First port unless told otherwise.
const FIRST_PORT: u16 = 7070;

/// Ports in all: seven of the world, and one for the door to the functions.
pub(crate) const PORTS: usize = 8;

/// What listens on each port, in the order in which [`cosell_tests::world::Setup`] takes them.
const LISTENERS: [&str; PORTS] = [
    "Entra",
    "Partner Center's referrals",
    "Partner Center's webhook registration",
    "Partner Center's certificates",
    "Dynamics 365",
    "the AWS services",
    "the webhook",
    "the door to the functions",
];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The explanation.
    Help,
    /// The play.
    Play(Options),
}

/// How to play.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// End after the stories.
    pub(crate) once: bool,
    /// First port; 0 takes any free ones.
    first_port: u16,
    /// Log levels of `sync`.
    pub(crate) rust_log: Option<String>,
}

impl Options {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// What is not understood, and what would be.
    pub(crate) fn read(
        arguments: impl Iterator<Item = String>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Wish, String> {
        let set = |name: &str| {
            lookup(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let mut once = match set("ONCE").as_deref() {
            None | Some("0" | "false" | "no") => false,
            Some("1" | "true" | "yes") => true,
            Some(other) => {
                return Err(format!(
                    "ONCE is {other:?}; say ONCE=1 to end after the stories, or leave it out"
                ));
            }
        };
        for argument in arguments {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Wish::Help),
                "--once" => once = true,
                other => {
                    return Err(format!(
                        "the argument {other:?} is not known; known are --once and --help"
                    ));
                }
            }
        }
        let highest = u16::MAX - u16::try_from(PORTS - 1).unwrap_or_default();
        let first_port = match set("PORT") {
            None => FIRST_PORT,
            Some(text) => text.parse().ok().filter(|port| *port == 0 || (1024..=highest).contains(port)).ok_or_else(
                || format!("PORT is {text:?}; say the first of {PORTS} ports, from 1024 to {highest}, or 0 for any free ones"),
            )?,
        };
        Ok(Wish::Play(Self {
            once,
            first_port,
            rust_log: set("RUST_LOG"),
        }))
    }

    /// The ports to listen on, all of them free a moment ago.
    ///
    /// # Errors
    /// Which are taken, by whom they were to be used, and which to choose instead.
    pub(crate) fn free_ports(&self) -> Result<[u16; PORTS], String> {
        if self.first_port == 0 {
            return Ok([0; PORTS]);
        }
        let ports = following(self.first_port);
        let taken: Vec<String> = ports
            .iter()
            .zip(LISTENERS)
            .filter_map(|(port, listener)| Some((port, listener, bound(*port).err()?)))
            .map(|(port, listener, error)| match error.kind() {
                ErrorKind::AddrInUse => format!("Port {port}, meant for {listener}, is taken."),
                _ => format!("Port {port}, meant for {listener}, cannot be used: {error}."),
            })
            .collect();
        if taken.is_empty() {
            return Ok(ports);
        }
        let others = (1..50_u16)
            .filter_map(|step| self.first_port.checked_add(step.checked_mul(10)?))
            .filter(|first| *first <= u16::MAX - 10)
            .find(|first| following(*first).iter().all(|port| bound(*port).is_ok()));
        let cure = others.map_or_else(
            || "or choose others with PORT=<first of eight>".to_owned(),
            |first| format!("or take free ports:\nmake run PORT={first}"),
        );
        Err(format!(
            "{}\nStop what uses them (another `make run`?), {cure}",
            taken.join("\n")
        ))
    }
}

fn following(first: u16) -> [u16; PORTS] {
    let mut next = first;
    [(); PORTS].map(|()| {
        let port = next;
        next = next.saturating_add(1);
        port
    })
}

/// Whether a port can be listened on: it is, for an instant.
fn bound(port: u16) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Wish, String> {
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Options::read(arguments.iter().map(ToString::to_string), &lookup)
    }

    fn play(once: bool, first_port: u16) -> Result<Wish, String> {
        Ok(Wish::Play(Options {
            once,
            first_port,
            rust_log: None,
        }))
    }

    #[test]
    fn options_come_from_arguments_and_environment() {
        assert_eq!(read(&[], &[]), play(false, 7070));
        assert_eq!(read(&["--once"], &[("PORT", "9000")]), play(true, 9000));
        assert_eq!(read(&[], &[("ONCE", "1"), ("PORT", "0")]), play(true, 0));
        assert_eq!(read(&[], &[("ONCE", ""), ("PORT", " ")]), play(false, 7070));
        assert_eq!(read(&["--help"], &[("PORT", "x")]), Ok(Wish::Help));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(read(&["--onc"], &[]).unwrap_err().contains("--onc"));
        assert!(read(&[], &[("ONCE", "maybe")]).unwrap_err().contains("maybe"));
        for port in ["80", "65530", "x", "-1"] {
            assert!(read(&[], &[("PORT", port)]).unwrap_err().contains(port));
        }
    }

    #[test]
    fn a_taken_port_is_named_with_its_cure() {
        let (_holder, first) = std::iter::repeat_with(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .map(|holder| (holder.local_addr().unwrap().port(), holder))
            .find_map(|(port, holder)| (port > 2000 && port < 60_000).then_some((holder, port - 2)))
            .unwrap();
        let error = Options {
            once: true,
            first_port: first,
            rust_log: None,
        }
        .free_ports()
        .unwrap_err();
        assert!(
            error.contains(&format!(
                "Port {}, meant for Partner Center's webhook registration",
                first + 2
            )),
            "{error}"
        );
        assert!(error.contains("make run PORT="), "{error}");
    }
}
