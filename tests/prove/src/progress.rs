//! How far a long walk over the seeds has come, kept in a file, so that it can be stopped and go on.
//!
//! Knows: to which program and which seeds a file belongs. Refuses to know: what the figures say. Guarantee: figures of
//! two programs, or of other seeds, are never added up; a walk that is stopped while the file is written finds the
//! former one.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::card::Sum;

/// What is in the file.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// The program's bytes, hashed.
    program: u64,
    first: u64,
    runs: u64,
    /// Milliseconds that the runs so far took.
    took: u64,
    sum: Sum,
}

/// The file, and what it belongs to.
pub(crate) struct Progress {
    path: Option<PathBuf>,
    program: u64,
    first: u64,
    runs: u64,
}

impl Progress {
    /// Of these runs of this very program; without a path nothing is kept.
    ///
    /// # Errors
    /// When the program cannot read itself.
    pub(crate) fn of(path: Option<String>, first: u64, runs: u64) -> Result<Self, String> {
        let own = std::env::current_exe().and_then(std::fs::read);
        let own = own.map_err(|error| format!("the program cannot be read: {error}"))?;
        let mut hasher = DefaultHasher::new();
        own.hash(&mut hasher);
        Ok(Self {
            path: path.map(PathBuf::from),
            program: hasher.finish(),
            first,
            runs,
        })
    }

    /// What an earlier walk came to, and how long it took; nothing when there was none, or another.
    pub(crate) fn found(&self) -> (Sum, Duration) {
        let text = self.path.as_ref().and_then(|path| std::fs::read(path).ok());
        let kept = text.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        let is_ours = |kept: &Kept| (kept.program, kept.first, kept.runs) == (self.program, self.first, self.runs);
        let kept = kept.filter(is_ours).unwrap_or_default();
        (kept.sum, Duration::from_millis(kept.took))
    }

    /// Keeps what the walk has come to.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(&self, sum: Sum, took: Duration) -> Result<Sum, String> {
        let Some(path) = &self.path else { return Ok(sum) };
        let kept = Kept {
            program: self.program,
            first: self.first,
            runs: self.runs,
            took: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            sum,
        };
        let text = serde_json::to_vec(&kept).map_err(|error| error.to_string())?;
        let beside = path.with_extension("new");
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
        written.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(kept.sum)
    }

    /// The walk is at its end.
    pub(crate) fn forget(&self) {
        // One that stays behind is found to be at its end.
        let _ = self.path.as_deref().map(std::fs::remove_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_where_it_was_and_no_other_does() {
        let path = std::env::temp_dir().join(format!("prove-progress-{}.json", std::process::id()));
        let text = Some(path.display().to_string());
        let walk = Progress::of(text.clone(), 0, 100).unwrap();
        let mut sum = Sum {
            runs: 7,
            ..Sum::default()
        };
        sum.broken.insert(3, "because".to_owned());
        sum.calm.lags.insert(30, 2);
        let kept = walk.keep(sum, Duration::from_millis(1500)).unwrap();
        assert_eq!(walk.found(), (kept, Duration::from_millis(1500)));
        let nothing = (Sum::default(), Duration::ZERO);
        assert_eq!(Progress::of(text.clone(), 1, 100).unwrap().found(), nothing);
        assert_eq!(Progress::of(text.clone(), 0, 101).unwrap().found(), nothing);
        let other = Progress {
            program: 1,
            ..Progress::of(text, 0, 100).unwrap()
        };
        assert_eq!(other.found(), nothing);
        walk.forget();
        assert_eq!(walk.found(), nothing);
    }
}
