//! A network namespace of the test's own: a loopback device, and one more whose cable ends in this process.
//!
//! The device is a TUN device: every packet that the namespace sends to the others is read from a file, and every packet it
//! receives is written to it. What lies between the namespaces is therefore [`crate::Network`], and no rule of the
//! system's firewall, no bridge and no queue discipline is needed, which not every kernel has.
//!
//! Invariant: a namespace has no name and no mount. It is gone when the last process in it and the last file on it are, so that
//! nothing stays behind, however the test ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

const DEVICE: &[u8] = b"recoil0";
/// As in a data centre with large frames: fewer packets for the switch to carry.
const PACKET_BYTES: i32 = 9000;

/// A namespace. Clones share it.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// A new namespace with `address` in a network of 256, and the cable of its device. Needs root.
    pub(crate) fn new(address: Ipv4Addr) -> io::Result<(Self, File)> {
        // A thread that has entered another namespace is of no use afterwards.
        let made = std::thread::spawn(move || -> io::Result<(File, File)> {
            // SAFETY: unshare(2) takes an integer, and concerns this thread only.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            let file = File::open("/proc/thread-self/ns/net")?;
            up(b"lo", None)?;
            let cable = tun()?;
            up(DEVICE, Some(address))?;
            Ok((file, cable))
        });
        let (file, cable) = made.join().expect("making a namespace does not panic")?;
        Ok((Namespace { file: Arc::new(file) }, cable))
    }

    /// Runs `work` in the namespace: sockets made by it stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = &self.file;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                // SAFETY: setns(2) takes an open file and an integer, and concerns this thread only.
                check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).expect("entering a namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The program will run in the namespace.
    pub(crate) fn of(&self, command: &mut Command) {
        let file = self.file.clone();
        // SAFETY: between fork and exec the closure does nothing but one system call.
        unsafe { command.pre_exec(move || check(libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET)).map(drop)) };
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn request(device: &[u8]) -> libc::ifreq {
    // SAFETY: all bytes zero is a value of this struct of integers and arrays.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device) {
        *to = *from as libc::c_char;
    }
    request
}

fn ioctl(file: &impl std::os::fd::AsRawFd, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: all requests used here take an ifreq, which lives for the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), number, std::ptr::from_mut(request)) }).map(drop)
}

/// The device, which lives as long as the answered file. One read is one packet.
fn tun() -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut device = request(DEVICE);
    device.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    ioctl(&file, libc::TUNSETIFF, &mut device)?;
    Ok(file)
}

/// Gives the device an address and switches it on.
fn up(device: &[u8], address: Option<Ipv4Addr>) -> io::Result<()> {
    // SAFETY: socket(2) takes three integers and answers a new file.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?) };
    if let Some(address) = address {
        for (number, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))] {
            let mut with_address = request(device);
            let internet = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: 0,
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(value.octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the two structs have the same size, and the kernel reads the one that the family names.
            with_address.ifr_ifru.ifru_addr =
                unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(internet) };
            ioctl(&socket, number, &mut with_address)?;
        }
        let mut with_size = request(device);
        with_size.ifr_ifru.ifru_mtu = PACKET_BYTES;
        ioctl(&socket, libc::SIOCSIFMTU, &mut with_size)?;
    }
    let mut with_flags = request(device);
    with_flags.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    ioctl(&socket, libc::SIOCSIFFLAGS, &mut with_flags)
}
