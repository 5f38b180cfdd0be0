//! Who is let in, on a node that has founded a cluster.

use recoil_base::Shutdown;

use super::*;
use crate::node::{Node, NodeOptions, Shared, SharedOptions};

/// The state that a node has applied may be older than its log: with data lost back to when fewer had joined, it must still let in those
/// who vote, or it would hear of nothing any more.
///
/// Seen red: without a look at the meta group's voters and learners.
#[tokio::test(flavor = "multi_thread")]
async fn whom_only_the_log_names_is_a_member() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::new(SharedOptions { code_cache: None, eval_threads: Some(1) }).unwrap();
    let options = NodeOptions::new(folder.path().to_owned(), ([127, 0, 0, 1], 0).into(), shared);
    let node = Node::start(options, Shutdown::new()).await.unwrap();
    let (named, stranger) = (NodeId(77), NodeId(78));
    let service = inbound(&node.parts);
    assert!(service.is_member(node.id()));
    assert!(!service.is_member(named) && !service.is_member(stranger));

    let meta = node.parts.meta().unwrap();
    while meta.add_learner(named).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!node.parts.states.borrow().members.contains_key(&named));
    assert!(service.is_member(named) && !service.is_member(stranger));
    node.stop().await;
}
