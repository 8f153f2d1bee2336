//! What the person may set.
//!
//! Knows: names, forms, defaults. Guarantee: what is not understood is named with what would be.

use std::path::PathBuf;

/// What `--help` prints before the routes.
pub(crate) const HELP: &str = "\
The vendors alone: Entra, Partner Center and Dynamics 365 as simulators on this
machine, for a deployment of the connector that somebody else started, for
example in an emulator of AWS. No account, no network.

  cargo run -p cosell-tests --bin vendors -- --folder DIR [options]

  --folder DIR     where `trust-anchors.pem` and, once all is up, `vendors.json`
                   are written: addresses, ids and secrets, a refresh token, and
                   the routes below with their addresses
  --ports FIRST    the first of six ports that follow each other; 0 takes any
                   free ones (default 0)
  --plain-crm      a Dynamics 365 without the columns of the co-sell solution
  --redirect URI   one more redirect URI of the Partner Center application;
                   registered are http://localhost and http://127.0.0.1, where
                   the port plays no part, but the path does
  --help           this text

It stays up until Ctrl-C or SIGTERM. Exit status: 0 when it was stopped, 1 when
it could not start, 2 when an argument is not understood.

Routes to act as the people, to look at both sides, and to break things:
";

/// Ports in all: five of the vendors, and one for the door to the people.
pub(crate) const PORTS: usize = 6;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The explanation.
    Help,
    /// The vendors.
    Start(Options),
}

/// How to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where the files go.
    pub(crate) folder: PathBuf,
    /// First port; 0 takes any free ones.
    first_port: u16,
    /// Whether Dynamics 365 is as Microsoft delivers it.
    pub(crate) plain_crm: bool,
    /// Redirect URIs besides the usual ones.
    pub(crate) redirects: Vec<String>,
}

impl Options {
    /// Reads arguments.
    ///
    /// # Errors
    /// What is not understood, and what would be.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
        let (mut folder, mut first_port, mut plain_crm, mut redirects) = (None, 0, false, Vec::new());
        while let Some(argument) = arguments.next() {
            let mut value = |what: &str| {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs {what} after it"))
            };
            match argument.as_str() {
                "--help" | "-h" => return Ok(Wish::Help),
                "--plain-crm" => plain_crm = true,
                "--folder" => folder = Some(PathBuf::from(value("a folder")?)),
                "--redirect" => redirects.push(value("a URI")?),
                "--ports" => {
                    let text = value("a port")?;
                    let highest = u16::MAX - u16::try_from(PORTS - 1).unwrap_or_default();
                    first_port = text
                        .parse()
                        .ok()
                        .filter(|port| *port == 0 || (1024..=highest).contains(port))
                        .ok_or_else(|| {
                            format!(
                                "--ports is {text:?}; say the first of {PORTS} ports, from 1024 to {highest}, or 0 for \
                                 any free ones"
                            )
                        })?;
                }
                other => {
                    return Err(format!(
                        "the argument {other:?} is not known; known are --folder, --ports, --plain-crm, --redirect and \
                         --help"
                    ));
                }
            }
        }
        let folder = folder.ok_or("--folder is missing; say where vendors.json is to be written")?;
        Ok(Wish::Start(Self {
            folder,
            first_port,
            plain_crm,
            redirects,
        }))
    }

    /// One port for each listener.
    pub(crate) fn ports(&self) -> [u16; PORTS] {
        let mut next = self.first_port;
        [(); PORTS].map(|()| {
            let port = next;
            next = if next == 0 { 0 } else { next.saturating_add(1) };
            port
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Wish, String> {
        Options::read(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn options_come_from_arguments() {
        let Ok(Wish::Start(options)) = read(&["--folder", "out"]) else {
            panic!("a folder is enough")
        };
        assert_eq!((options.ports(), options.plain_crm), ([0; PORTS], false));
        let all = read(&[
            "--plain-crm",
            "--ports",
            "9000",
            "--folder",
            "out",
            "--redirect",
            "https://a.example/b",
        ]);
        let Ok(Wish::Start(options)) = all else {
            panic!("all is understood")
        };
        assert_eq!(options.ports(), [9000, 9001, 9002, 9003, 9004, 9005]);
        assert!(options.plain_crm);
        assert_eq!(options.redirects, ["https://a.example/b"]);
        assert_eq!(read(&["--folder", "out", "--help"]), Ok(Wish::Help));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(read(&["--folde", "x"]).unwrap_err().contains("--folde"));
        assert!(read(&["--folder"]).unwrap_err().contains("needs a folder"));
        assert!(read(&[]).unwrap_err().contains("--folder is missing"));
        for port in ["80", "65534", "x", "-1"] {
            assert!(read(&["--folder", "x", "--ports", port]).unwrap_err().contains(port));
        }
    }
}
