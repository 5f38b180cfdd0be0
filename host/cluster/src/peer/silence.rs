//! When a stream whose cable has broken is given up.
//!
//! A cable that breaks says nothing. TCP alone tries for a quarter of an hour, more and more rarely, and meanwhile every call on the
//! stream waits, as do the first messages after the cable is whole again. So the system is told how long sent bytes may stay
//! unacknowledged; what is asked all the time (heartbeats, pings) then ends the stream, which fails what waits on it and
//! is dialled again. It counts what the other *machine* does, not the node: a large message on a slow link takes its time.
//! The side that only answers sends nothing by itself, and probes instead.

use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Far longer than a lease, so that elections never wait for it; and longer than a retransmission or two.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// Sets what both ends of a stream between nodes have: no waiting for more bytes to send, no endless patience.
pub(super) fn bound(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, SILENCE_MAX.as_millis() as u32)?;
    Ok(())
}
