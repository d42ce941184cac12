//! The memory of this process.

use std::fs;

/// The most memory that this process had resident since the last [`forget_peak`], in bytes (`VmHWM` of proc(5)).
pub(super) fn peak() -> Option<u64> {
    most(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Has the peak begin again with what is resident now (proc(5), `clear_refs`). Where the kernel refuses, the peak is that of the
/// process's whole life, which is no less.
pub(super) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn most(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_resident_memory_of_this_process() {
        assert_eq!(most("VmPeak:\t  9000 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(most("VmPeak:\t  9000 kB\n"), None);
        assert!(peak().unwrap() > 1 << 20);
    }
}
