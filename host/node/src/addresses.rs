//! Where a node listens, and by which address others reach it.
//!
//! The two differ where a node listens on every address of its machine, or behind a translation of
//! addresses: then an operator says what others are to dial ([`NodeOptions::advertise`]). The
//! member list holds what is advertised, never an address that only means something on the node's
//! own machine. A name is resolved when the node starts and every [`FOLLOW_EVERY`] from then on:
//! when it stands for another address, as it does when a container is given one, the node registers
//! there, by the same start.
//!
//! [`NodeOptions::advertise`]: crate::NodeOptions::advertise

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use recoil_base::{Clock, Endpoint};
use tokio::net::TcpListener;

use crate::membership;
use crate::node::{NodeError, NodeOptions, Parts};
use crate::notice::Notice;

/// How long an advertised name may have no address: pods get theirs when they have begun to run.
const ADVERTISE_DEADLINE: Duration = Duration::from_secs(60);
const ADVERTISE_RETRY: Duration = Duration::from_millis(500);
/// How often an advertised name is resolved while the node runs.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// A node's addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// Where it listens on its machine.
    pub(crate) bound: SocketAddr,
    /// Where others reach it.
    pub(crate) advertised: SocketAddr,
}

/// Refuses options by which nobody could reach the node, before anything is made.
pub(crate) fn check(options: &NodeOptions) -> Result<(), NodeError> {
    let is_unspecified =
        |endpoint: &Endpoint| endpoint.host().parse().is_ok_and(|address: IpAddr| address.is_unspecified());
    match &options.advertise {
        Some(advertise) if is_unspecified(advertise) => Err(NodeError::Advertise(format!(
            "--advertise {advertise} stands for every address of a machine, which other nodes cannot dial: name one \
             of this machine's addresses, or its name"
        ))),
        None if is_unspecified(&options.listen) => Err(NodeError::Advertise(format!(
            "--listen {} stands for every address of this machine, which other nodes cannot dial: add --advertise \
             HOST:PORT, the address or name by which they reach this one (for a node that stays alone, --advertise \
             127.0.0.1 will do)",
            options.listen
        ))),
        _ => Ok(()),
    }
}

/// Listens, and finds out what others are to dial.
pub(crate) async fn listen(options: &NodeOptions, clock: &Clock) -> Result<(TcpListener, Addresses), NodeError> {
    let failed = |error: std::io::Error| NodeError::Listen { address: options.listen.clone(), why: error.to_string() };
    let resolved = options.listen.resolve().await.map_err(failed)?;
    let listener = TcpListener::bind(&resolved[..]).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let advertised = match &options.advertise {
        None => bound,
        Some(advertise) => resolve(advertise, bound.port(), clock).await?,
    };
    Ok((listener, Addresses { bound, advertised }))
}

async fn resolve(advertise: &Endpoint, bound_port: u16, clock: &Clock) -> Result<SocketAddr, NodeError> {
    let mut notice = Notice::new(clock.clone());
    let deadline = clock.now() + ADVERTISE_DEADLINE;
    loop {
        let why = match advertise.resolve().await {
            Ok(found) => match dialled(&found, bound_port).next() {
                Some(address) => return Ok(address),
                None => "it stands for no address that other nodes can dial".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        if clock.now() > deadline {
            return Err(NodeError::Advertise(format!(
                "cannot resolve --advertise {advertise}: {why}. Name an address, or a name that stands for one \
                 already while the node starts"
            )));
        }
        if notice.is_due(&why) {
            tracing::warn!("--advertise {advertise} cannot be resolved yet ({why}); trying on");
        }
        tokio::time::sleep(ADVERTISE_RETRY).await;
    }
}

/// Of what a name stands for, what others can dial: with the port that is bound where none is advertised.
fn dialled(found: &[SocketAddr], bound_port: u16) -> impl Iterator<Item = SocketAddr> {
    let found = found.iter().filter(|address| !address.ip().is_unspecified());
    found.map(move |address| match address.port() {
        0 => SocketAddr::new(address.ip(), bound_port),
        _ => *address,
    })
}

/// Where a node is reached now that was at `current`, if its name stands for something else.
fn moved(current: SocketAddr, found: &[SocketAddr], bound_port: u16) -> Option<SocketAddr> {
    let mut dialled = dialled(found, bound_port).peekable();
    let first = *dialled.peek()?;
    dialled.all(|address| address != current).then_some(first)
}

/// Registers the node wherever its advertised name leads, until the node stops.
pub(crate) async fn follow(parts: Arc<Parts>) {
    let Some(advertise) = parts.options.advertise.as_ref().filter(|advertise| !advertise.is_address()) else { return };
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        // A name server that does not answer changes nothing.
        let Ok(found) = advertise.resolve().await else { continue };
        let before = parts.address();
        if let Some(address) = moved(before, &found, parts.bound.port()) {
            tracing::info!(%before, %address, "--advertise {advertise} stands for another address; this node registers there");
            parts.move_to(address);
        }
        let registered = parts.states.borrow().members.get(&parts.node).map(|member| member.address);
        if registered.is_some_and(|registered| registered != parts.address())
            && let Err(why) = membership::register(&parts).await
        {
            tracing::warn!(%why, "the cluster does not know yet where this node is reached; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Shared, SharedOptions};

    fn options(listen: &str, advertise: Option<&str>) -> NodeOptions {
        let shared = Shared::new(SharedOptions { code_cache: None, eval_threads: Some(1) }).unwrap();
        NodeOptions {
            listen: listen.parse().unwrap(),
            advertise: advertise.map(|text| Endpoint::parse(text, 0).unwrap()),
            ..NodeOptions::new("unused".into(), ([127, 0, 0, 1], 0).into(), shared)
        }
    }

    /// Fails if an address that means nothing to other nodes could get into the member list.
    #[test]
    fn every_address_of_the_machine_is_no_address_for_others() {
        for listen in ["0.0.0.0:7400", "[::]:7400", "0.0.0.0:0"] {
            let error = check(&options(listen, None)).unwrap_err().to_string();
            assert!(error.contains(listen) && error.contains("--advertise HOST:PORT"), "{error}");
            assert!(check(&options(listen, Some("node-0"))).is_ok());
            assert!(check(&options(listen, Some("0.0.0.0"))).is_err());
        }
        assert!(check(&options("localhost:7400", None)).is_ok());
    }

    /// Fails if a node moves although its name still stands for where it is, or stays although it does not; or if it moves nowhere.
    #[test]
    fn a_node_goes_where_its_name_leads_and_not_without_need() {
        let at = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let moved = |current: &str, found: &[&str]| {
            moved(current.parse().unwrap(), &at(found), 7400).map(|address| address.to_string())
        };
        assert_eq!(moved("10.0.0.1:7400", &["10.0.0.1:0"]), None);
        assert_eq!(moved("10.0.0.1:7400", &["10.0.0.2:0", "10.0.0.1:0"]), None, "it has both");
        assert_eq!(moved("10.0.0.1:7400", &["10.0.0.2:0"]), Some("10.0.0.2:7400".into()));
        assert_eq!(moved("10.0.0.1:9", &["10.0.0.2:9", "10.0.0.3:9"]), Some("10.0.0.2:9".into()));
        assert_eq!(moved("10.0.0.1:7400", &["0.0.0.0:0"]), None, "nobody can dial that");
        assert_eq!(moved("10.0.0.1:7400", &[]), None);
    }

    /// Fails if an advertised port is lost, or the bound one not taken where none is advertised.
    #[tokio::test]
    async fn what_is_advertised_is_the_name_given_with_the_port_bound_or_its_own() {
        let clock = Clock::system();
        let (listener, addresses) = listen(&options("0.0.0.0:0", Some("localhost")), &clock).await.unwrap();
        assert_eq!(addresses.bound, listener.local_addr().unwrap());
        assert!(addresses.bound.ip().is_unspecified() && addresses.advertised.ip().is_loopback());
        assert_eq!(addresses.advertised.port(), addresses.bound.port());
        let (_listener, addresses) = listen(&options("localhost:0", Some("10.1.2.3:9")), &clock).await.unwrap();
        assert_eq!(addresses.advertised, "10.1.2.3:9".parse().unwrap());
        let (_listener, addresses) = listen(&options("localhost:0", None), &clock).await.unwrap();
        assert_eq!(addresses.advertised, addresses.bound);
    }
}
