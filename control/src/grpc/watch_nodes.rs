//! `Cluster.WatchNodes`: all nodes, and then each that has changed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use node::problem::Type;

use super::listener::Source;
use super::v1::{Node, WatchNodesResponse};
use crate::ControlState;
use crate::acknowledged::nodes;
use crate::api::Problem;
use crate::api::nodes::{Streams, view};

/// How often it looks: nodes speak every two seconds. A credential's end shows within a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(700);

/// The nodes as a call has them.
#[derive(Default)]
pub(super) struct NodeChanges(BTreeMap<String, Node>);

impl Source for NodeChanges {
    type Message = WatchNodesResponse;

    async fn look(
        &mut self,
        shared: &Arc<ControlState>,
        messages: &mut VecDeque<WatchNodesResponse>,
    ) -> Result<(), Problem> {
        let mut now = BTreeMap::new();
        for info in nodes(shared) {
            let node: Node = serde_json::from_value(view(&info, Streams::Counted))
                .map_err(|error| Problem::new(Type::Internal, format!("a node is no message: {error}")))?;
            now.insert(node.name.clone(), node);
        }
        messages.extend(changes(&self.0, &now));
        self.0 = now;
        Ok(())
    }

    async fn wait(&mut self) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }

    fn nothing(&self) -> WatchNodesResponse {
        WatchNodesResponse::default()
    }
}

fn changes(before: &BTreeMap<String, Node>, now: &BTreeMap<String, Node>) -> Vec<WatchNodesResponse> {
    let is_new = |(name, node): &(&String, &Node)| before.get(*name) != Some(*node);
    let changed = now.iter().filter(is_new);
    let changed = changed.map(|(_, node)| WatchNodesResponse { node: Some(node.clone()), forgotten: false });
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let gone = gone
        .map(|name| WatchNodesResponse { node: Some(Node { name: name.clone(), ..Node::default() }), forgotten: true });
    changed.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_sent_and_what_is_gone_is_forgotten() {
        let nodes = |of: &[(&str, bool)]| -> BTreeMap<String, Node> {
            let node = |(name, drained): &(&str, bool)| {
                ((*name).to_owned(), Node { name: (*name).to_owned(), drained: *drained, ..Node::default() })
            };
            of.iter().map(node).collect()
        };
        let told = |before, now| -> Vec<(String, bool)> {
            let told = changes(&before, &now).into_iter();
            told.map(|told| (told.node.unwrap().name, told.forgotten)).collect()
        };
        let (first, then) = (nodes(&[("b1", false), ("b2", false)]), nodes(&[("b1", true), ("i1", false)]));
        assert_eq!(told(nodes(&[]), first.clone()), [("b1".to_owned(), false), ("b2".to_owned(), false)]);
        assert_eq!(told(first.clone(), first.clone()), []);
        let expected = [("b1".to_owned(), false), ("i1".to_owned(), false), ("b2".to_owned(), true)];
        assert_eq!(told(first, then), expected);
    }
}
