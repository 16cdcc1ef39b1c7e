//! The memory that the control groups of this process leave it (F76).
//!
//! A group's limit holds for all that is in it and below it, so each level up to the mount counts.
//! Page cache that is clean and not mapped is left out of what is used: the kernel takes it back before
//! it kills. The rest it may not get rid of in time.

use std::fs;
use std::path::{Path, PathBuf};

/// A version of control groups: where its groups are found, and how it calls their files.
#[derive(Debug)]
struct Version {
    filesystem: &'static str,
    controller: &'static str,
    limits: &'static [&'static str],
    used: &'static str,
    /// Lines of `memory.stat`: page cache, and what of it is in use.
    cached: [&'static str; 2],
    needed: [&'static str; 3],
}

/// Where both are mounted, the controller is in version 1 if that has a group of it.
static VERSIONS: [Version; 2] = [
    Version {
        filesystem: "cgroup",
        controller: "memory",
        limits: &["memory.limit_in_bytes"],
        used: "memory.usage_in_bytes",
        cached: ["total_inactive_file ", "total_active_file "],
        needed: ["total_mapped_file ", "total_dirty ", "total_writeback "],
    },
    Version {
        filesystem: "cgroup2",
        controller: "",
        // Past `memory.high` a group is not killed but slowed down until it stands still.
        limits: &["memory.max", "memory.high"],
        used: "memory.current",
        cached: ["inactive_file ", "active_file "],
        needed: ["file_mapped ", "file_dirty ", "file_writeback "],
    },
];
/// Version 1 has no word for "no limit": it writes the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// Bytes of a group: what it may have, and what it has that cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub limit: u64,
    pub used: u64,
}

impl Usage {
    /// So many percent of the limit.
    #[must_use]
    pub fn at(self, percent: u64) -> u64 {
        self.limit / 100 * percent
    }
}

/// The groups that bound this process's memory.
#[derive(Debug)]
pub struct Cgroup {
    version: &'static Version,
    /// Its own and those above.
    levels: Vec<PathBuf>,
}

impl Cgroup {
    /// Those of this process, as `/proc` tells; `root` is `/` but in tests. `None` where memory has no
    /// controller.
    #[must_use]
    pub fn of_this_process(root: &Path) -> Option<Self> {
        let told = |name| fs::read_to_string(root.join("proc/self").join(name)).ok();
        let (groups, mounts) = (told("cgroup")?, told("mountinfo")?);
        let (version, group) = VERSIONS.iter().find_map(|version| version.group(&groups))?;
        let (above, mounted) = version.mount(&mounts)?;
        let top = root.join(mounted.trim_start_matches('/'));
        // A group outside of what is mounted, as in some containers: what is mounted is its own.
        let below = Path::new(group).strip_prefix(above).unwrap_or(Path::new(""));
        let levels = top.join(below);
        let levels = levels.ancestors().take_while(|level| level.starts_with(&top));
        Some(Self { version, levels: levels.map(Path::to_owned).collect() })
    }

    /// Of every level that has a limit now.
    #[must_use]
    pub fn usages(&self) -> Vec<Usage> {
        self.levels.iter().filter_map(|level| self.level(level)).collect()
    }

    fn level(&self, level: &Path) -> Option<Usage> {
        let number = |name: &&str| fs::read_to_string(level.join(name)).ok()?.trim().parse().ok();
        // "max" is no number.
        let limits = self.version.limits.iter().filter_map(number);
        let limit = limits.min().filter(|limit| *limit < NO_LIMIT)?;
        let stat = fs::read_to_string(level.join("memory.stat")).ok()?;
        let sum = |names: &[&str]| -> u64 {
            let of = |line: &str| -> Option<u64> {
                names.iter().find_map(|name| line.strip_prefix(name)?.parse().ok())
            };
            stat.lines().filter_map(of).sum()
        };
        let free = sum(&self.version.cached).saturating_sub(sum(&self.version.needed));
        Some(Usage { limit, used: number(&self.version.used)?.saturating_sub(free) })
    }
}

impl Version {
    /// The group that has the controller, of `/proc/self/cgroup`.
    fn group<'a>(&'static self, groups: &'a str) -> Option<(&'static Self, &'a str)> {
        let mut lines = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let (_, path) =
            lines.find(|(names, _)| names.split(',').any(|it| it == self.controller))?;
        Some((self, path))
    }

    /// Which group is mounted, and where, of `/proc/self/mountinfo` (proc(5)).
    fn mount<'a>(&self, mounts: &'a str) -> Option<(&'a str, &'a str)> {
        mounts.lines().find_map(|line| {
            let (place, what) = line.split_once(" - ")?;
            let mut what = what.split(' ');
            let (filesystem, options) = (what.next()?, what.nth(1)?);
            let has = options.split(',').any(|option| option == self.controller);
            let fits = filesystem == self.filesystem && (has || self.controller.is_empty());
            let mut place = place.split(' ').skip(3);
            fits.then_some((place.next()?, place.next()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const V2_MOUNTS: &str = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
    const NONE_V1: &str = "9223372036854771712";

    /// A host in a directory: files by their paths, with their content.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    /// Used and limit of each level.
    fn usages(files: &[(&str, &str)]) -> Vec<(u64, u64)> {
        let root = host(files);
        let found = Cgroup::of_this_process(root.path()).map(|cgroup| cgroup.usages());
        found.unwrap_or_default().into_iter().map(|usage| (usage.used, usage.limit)).collect()
    }

    #[test]
    fn f76_every_level_with_a_limit_counts_and_page_cache_does_not() {
        let files = [
            ("proc/self/cgroup", "0::/weir.slice/weir.service\n"),
            ("proc/self/mountinfo", V2_MOUNTS),
            ("sys/fs/cgroup/weir.slice/memory.max", "1000\n"),
            ("sys/fs/cgroup/weir.slice/memory.high", "max\n"),
            ("sys/fs/cgroup/weir.slice/memory.current", "950\n"),
            (
                "sys/fs/cgroup/weir.slice/memory.stat",
                "anon 5\ninactive_file 40\nactive_file 30\nfile_dirty 20\n",
            ),
            ("sys/fs/cgroup/weir.slice/weir.service/memory.max", "max\n"),
            ("sys/fs/cgroup/weir.slice/weir.service/memory.high", "800\n"),
            ("sys/fs/cgroup/weir.slice/weir.service/memory.current", "300\n"),
            ("sys/fs/cgroup/weir.slice/weir.service/memory.stat", "anon 300\n"),
        ];
        assert_eq!(usages(&files), [(300, 800), (900, 1000)]);
        assert_eq!(usages(&files[..2]), [], "no level has files");
    }

    #[test]
    fn f76_version_1_has_the_controller_where_both_are_mounted() {
        let files = [
            ("proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n0::/other\n"),
            ("proc/self/mountinfo", V1_MOUNTS),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", NONE_V1),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "700"),
            ("sys/fs/cgroup/memory/a/memory.stat", ""),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "900"),
            ("sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "600"),
            ("sys/fs/cgroup/memory/a/b/memory.stat", "active_file 1\ntotal_active_file 100\n"),
        ];
        assert_eq!(usages(&files), [(500, 900)]);
    }

    #[test]
    fn f76_in_a_container_the_group_is_what_is_mounted() {
        for group in ["/docker/7", "/elsewhere"] {
            let files = [
                ("proc/self/cgroup", &*format!("0::{group}\n")),
                ("proc/self/mountinfo", "29 22 0:26 /docker/7 /cg rw - cgroup2 cgroup rw\n"),
                ("cg/memory.max", "100"),
                ("cg/memory.current", "10"),
                ("cg/memory.stat", ""),
            ];
            assert_eq!(usages(&files), [(10, 100)], "{group}");
        }
    }

    #[test]
    fn f76_what_cannot_be_read_is_no_limit() {
        assert_eq!(usages(&[]), []);
        for (groups, mounts) in
            [("", V2_MOUNTS), ("0::/\n", ""), ("4:memory:/\n", V2_MOUNTS), ("x", "y - z")]
        {
            let files = [("proc/self/cgroup", groups), ("proc/self/mountinfo", mounts)];
            assert_eq!(usages(&files), []);
        }
    }
}
