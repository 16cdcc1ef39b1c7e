//! What a running process keeps as it was at its start, whatever is read again.

use super::{Address, Settings};
use secrecy::{ExposeSecret, SecretString};

impl Settings {
    /// What of `weir.toml` is something else than what the process `began` with, and only a restart puts in force.
    #[must_use]
    pub fn kept(&self, began: &Self) -> Vec<&'static str> {
        let (own, old) = (&self.ledger, &began.ledger);
        let same_sinks = own.others.len() == old.others.len()
            && own.others.iter().zip(&old.others).all(|(own, old)| own.is(old));
        let (limits, began_limits) = (&self.limits, &began.limits);
        let all = [
            ("listener", self.doors() != began.doors()),
            ("admin.address", self.admin.address != began.admin.address),
            ("admin.token", !same(self.admin.token.as_ref(), began.admin.token.as_ref())),
            ("state_directory", self.state_directory != began.state_directory),
            ("threads", self.threads != began.threads),
            ("drain", self.drain != began.drain),
            ("log", self.log != began.log),
            ("limits.keepalive_idle", limits.keepalive_idle != began_limits.keepalive_idle),
            ("limits.h2_streams", limits.h2_streams != began_limits.h2_streams),
            ("ledger.slots", own.slots != old.slots),
            ("ledger.durability", own.durability != old.durability),
            ("ledger.sqlite", own.sqlite != old.sqlite),
            ("the sinks of the ledger", !same_sinks),
            ("ledger.spool_bytes", own.spool_bytes != old.spool_bytes),
            ("ledger.spool_full", own.spool_full != old.spool_full),
        ];
        all.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }

    /// Where callers are listened to, and how; certificates are read again.
    fn doors(&self) -> Vec<(&Address, bool, bool)> {
        let doors = self.listeners.iter();
        doors.map(|door| (&door.address, door.tls.is_some(), door.h2c)).collect()
    }
}

fn same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}

#[cfg(test)]
mod tests {
    use crate::config::load_with;
    use std::fs;

    /// What another `weir.toml` than an empty one changes.
    fn kept(text: &str) -> Vec<&'static str> {
        let place = tempfile::tempdir().unwrap();
        let settings = |text: &str| {
            for file in crate::config::FILES {
                fs::write(place.path().join(file), "").unwrap();
            }
            fs::write(place.path().join("weir.toml"), text).unwrap();
            let environment = |name: &str| (name == "SECRET").then(|| "postgresql://h/d".into());
            load_with(place.path(), &environment).unwrap().settings
        };
        settings(text).kept(&settings("state_directory = \"state\"\n"))
    }

    #[test]
    fn what_a_restart_alone_changes_is_named_and_nothing_else() {
        let own = "state_directory = \"state\"\n";
        assert!(kept(own).is_empty());
        for (text, named) in [
            (
                "keepalive_comment = \"3s\"\n[limits]\nrequests = 9\n[ledger]\ncharge = \"delivered\"",
                "",
            ),
            ("threads = 77\ndrain = \"7s\"\nlog = \"json\"", "threads drain log"),
            ("[[listener]]\naddress = \"127.0.0.1:9\"", "listener"),
            ("[admin]\naddress = \"127.0.0.1:9\"", "admin.address"),
            ("[limits]\nh2_streams = 7", "limits.h2_streams"),
            (
                "[ledger]\nslots = 99\nspool_full = \"serve-unbilled\"",
                "ledger.slots ledger.spool_full",
            ),
            ("[ledger]\njsonl = { directory = \"out\" }", "the sinks of the ledger"),
            ("[ledger]\npostgres = { env = \"SECRET\" }", "the sinks of the ledger"),
        ] {
            assert_eq!(kept(&format!("{own}{text}\n")).join(" "), named, "{text}");
        }
        assert_eq!(kept("state_directory = \"x\"\n"), ["state_directory", "ledger.sqlite"]);
    }
}
