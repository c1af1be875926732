//! Who has a port, for the error that says it is taken: `/proc/net/tcp` names the socket,
//! `/proc/<pid>/fd` its process. Other users' processes stay unknown without their rights.

use std::fs;
use std::path::Path;

/// `LISTEN` in the kernel's table.
const LISTENING: &str = "0A";

/// `pid 123 (nginx)`, or why that is not known.
pub(crate) fn owner(port: u16) -> String {
    let Some(inode) = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok().and_then(|table| listening_inode(&table, port)))
    else {
        return "a process that could not be found".into();
    };
    match process_with(&format!("socket:[{inode}]")) {
        Some((pid, name)) => format!("pid {pid} ({name})"),
        None => "a process of another user".into(),
    }
}

/// The inode of the socket that listens on this port.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, hex) = local.rsplit_once(':')?;
        let found = u16::from_str_radix(hex, 16).ok()?;
        (found == port && *state == LISTENING).then(|| inode.parse().ok()).flatten()
    })
}

fn process_with(link: &str) -> Option<(u32, String)> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let has = |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(link));
        let holds = fs::read_dir(entry.path().join("fd")).ok()?.flatten().any(has);
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        holds.then(|| (pid, name.trim().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table_is_read_and_a_client_of_the_port_is_not_its_owner() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000 0 111 1 0 20 4 30 10 -1\n\
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 222 1 0 100 0 0 10 0\n";
        assert_eq!(listening_inode(table, 8080), Some(222));
        assert_eq!(listening_inode(table, 8081), None);
    }
}
