//! The first-day guide of the README, as commands in the order in which it gives them.
//!
//! Knows: where the guide stands and how its commands are set off. Refuses to know: what they do. Guarantee: a command that
//! the guide does not give at that place, or that it gives and nobody types, fails the rehearsal.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

/// The environment that the guide begins with.
const GUIDED: &str = "staging";

/// Commands that were not typed yet.
#[derive(Debug)]
pub(crate) struct Guide {
    commands: VecDeque<String>,
    environment: &'static str,
}

impl Guide {
    /// Reads the README in `root`; what it says of staging is done with `environment`.
    pub(crate) fn read(root: &Path, environment: &'static str) -> Result<Self, String> {
        let readme = root.join("README.md");
        let text = fs::read_to_string(&readme).map_err(|error| format!("{}: {error}", readme.display()))?;
        let commands = commands(&text);
        if commands.is_empty() {
            return Err("README.md has no commands under \"First day\"".to_owned());
        }
        Ok(Self { commands, environment })
    }

    /// The next command, which must be `expected`; as it is typed for the rehearsal's environment.
    pub(crate) fn next(&mut self, expected: &str) -> Result<String, String> {
        match self.commands.pop_front() {
            Some(command) if command == expected => Ok(self.for_rehearsal(&command)),
            Some(other) => Err(format!(
                "the guide says \"{other}\" where the rehearsal has \"{expected}\"; one of the two has to follow the other"
            )),
            None => Err(format!("the guide ends before \"{expected}\"")),
        }
    }

    /// The guide must be at its end.
    pub(crate) fn ended(&self) -> Result<(), String> {
        match self.commands.front() {
            None => Ok(()),
            Some(command) => Err(format!("the guide goes on with \"{command}\", which nobody typed")),
        }
    }

    fn for_rehearsal(&self, command: &str) -> String {
        let environment = self.environment;
        let command = command.replace(&format!("ENV={GUIDED}"), &format!("ENV={environment}"));
        match command.strip_suffix(&format!("/{GUIDED}.tfvars")) {
            Some(folder) => format!("{folder}/{environment}.tfvars"),
            None => command,
        }
    }
}

/// The lines of all shell blocks between the heading "First day" and its part "Later", without their comments.
fn commands(readme: &str) -> VecDeque<String> {
    let guide = readme.lines().skip_while(|line| *line != "## First day").skip(1);
    let guide = guide.take_while(|line| !line.starts_with("## ") && *line != "### Later");
    let mut is_shell = false;
    let mut commands = VecDeque::new();
    for line in guide {
        if line.starts_with("```") {
            is_shell = line == "```sh";
        } else if is_shell {
            let command = line.split(" #").next().unwrap_or(line).trim();
            if !command.is_empty() {
                commands.push_back(command.to_owned());
            }
        }
    }
    commands
}
