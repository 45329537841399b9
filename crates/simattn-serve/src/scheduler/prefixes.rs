//! Beginnings of prompts that are kept, block by block.

use std::collections::{BTreeSet, HashMap};

/// Names a kept beginning.
pub(super) type PrefixId = u64;

/// A beginning that is one block longer than its parent, with which it shares all others.
struct Node<P> {
    prefix: P,
    bytes: u64,
    tokens: Box<[u32]>,
    parent: Option<PrefixId>,
    children: HashMap<Box<[u32]>, PrefixId>,
    /// When it was last used; a parent always later than its children.
    used: u64,
}

/// A tree of beginnings, found by their tokens. What was used longest ago goes first, and a
/// beginning never before longer ones.
pub(super) struct Prefixes<P> {
    nodes: HashMap<PrefixId, Node<P>>,
    roots: HashMap<Box<[u32]>, PrefixId>,
    order: BTreeSet<(u64, PrefixId)>,
    clock: u64,
    bytes: u64,
}

impl<P> Prefixes<P> {
    pub(super) fn new() -> Self {
        Self {
            nodes: HashMap::new(),
            roots: HashMap::new(),
            order: BTreeSet::new(),
            clock: 0,
            bytes: 0,
        }
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What goes on after `parent`, or begins, with a block of these `tokens`.
    pub(super) fn find(&self, parent: Option<PrefixId>, tokens: &[u32]) -> Option<PrefixId> {
        let children = match parent {
            Some(parent) => &self.nodes.get(&parent)?.children,
            None => &self.roots,
        };
        children.get(tokens).copied()
    }

    /// What is kept under a name.
    pub(super) fn get(&self, id: PrefixId) -> Option<&P> {
        self.nodes.get(&id).map(|node| &node.prefix)
    }

    /// Marks a beginning and shorter ones as used.
    pub(super) fn touch(&mut self, id: PrefixId) {
        let mut next = Some(id);
        while let Some(id) = next {
            let Some(node) = self.nodes.get_mut(&id) else {
                return;
            };
            self.clock += 1;
            self.order.remove(&(node.used, id));
            node.used = self.clock;
            self.order.insert((node.used, id));
            next = node.parent;
        }
    }

    /// Keeps a longer beginning, if its last block and what is kept fit into `limit` once older ones are given up. `None`
    /// also where its parent has been given up.
    pub(super) fn insert(
        &mut self,
        parent: Option<PrefixId>,
        tokens: &[u32],
        bytes: u64,
        limit: u64,
        prefix: impl FnOnce() -> P,
    ) -> Option<PrefixId> {
        if let Some(known) = self.find(parent, tokens) {
            self.touch(known);
            return Some(known);
        }
        if bytes > limit {
            return None;
        }
        if let Some(parent) = parent {
            // What it follows must not make room for it.
            self.touch(parent);
        }
        self.shrink_to(limit - bytes);
        self.clock += 1;
        let id = self.clock;
        let children = match parent {
            Some(parent) => &mut self.nodes.get_mut(&parent)?.children,
            None => &mut self.roots,
        };
        children.insert(tokens.into(), id);
        let node = Node {
            prefix: prefix(),
            bytes,
            tokens: tokens.into(),
            parent,
            children: HashMap::new(),
            used: self.clock,
        };
        self.order.insert((node.used, id));
        self.nodes.insert(id, node);
        self.bytes += bytes;
        self.touch(id);
        Some(id)
    }

    /// Gives up beginnings until the others have at most `limit` bytes.
    pub(super) fn shrink_to(&mut self, limit: u64) {
        while self.bytes > limit
            && let Some((_, id)) = self.order.pop_first()
            && let Some(node) = self.nodes.remove(&id)
        {
            self.bytes -= node.bytes;
            let siblings = match node.parent {
                Some(parent) => self.nodes.get_mut(&parent).map(|node| &mut node.children),
                None => Some(&mut self.roots),
            };
            if let Some(siblings) = siblings {
                siblings.remove(&node.tokens);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_found_after_their_parents_alone() {
        let mut prefixes = Prefixes::new();
        let first = prefixes.insert(None, &[1, 2], 10, 100, || "a");
        let second = prefixes.insert(first, &[3, 4], 10, 100, || "b");
        assert_eq!(prefixes.find(None, &[1, 2]), first);
        assert_eq!(prefixes.find(first, &[3, 4]), second);
        assert_eq!(prefixes.find(None, &[3, 4]), None);
        assert_eq!(prefixes.get(second.expect("kept")), Some(&"b"));
        assert_eq!(prefixes.insert(None, &[1, 2], 10, 100, || "other"), first);
        assert_eq!(prefixes.bytes(), 20);
        assert_eq!(prefixes.insert(None, &[9], 101, 100, || "large"), None);
    }

    #[test]
    fn the_block_used_longest_ago_goes_and_children_before_parents() {
        let mut prefixes = Prefixes::new();
        let first = prefixes.insert(None, &[1], 10, 30, || ());
        let child = prefixes.insert(first, &[2], 10, 30, || ());
        let other = prefixes.insert(None, &[3], 10, 30, || ());
        prefixes.touch(child.expect("kept"));
        assert!(prefixes.insert(None, &[4], 10, 30, || ()).is_some());
        assert!(prefixes.get(other.expect("kept")).is_none());
        prefixes.shrink_to(20);
        assert_eq!(prefixes.find(first, &[2]), None);
        assert_eq!(prefixes.find(None, &[1]), first);
        assert_eq!(prefixes.insert(child, &[5], 10, 30, || ()), None);
    }

    proptest! {
        #[test]
        fn bytes_are_counted_and_every_block_has_its_parent(
            calls in proptest::collection::vec((0_usize..6, 0_u32..3, 20_u64..60), 1..60),
        ) {
            let mut prefixes = Prefixes::new();
            let mut known: Vec<Option<PrefixId>> = vec![None];
            for (parent, token, limit) in calls {
                let parent = known[parent % known.len()];
                if let Some(id) = prefixes.insert(parent, &[token], 10, limit, || ()) {
                    known.push(Some(id));
                    // No limit is higher.
                    prop_assert!(prefixes.bytes() < 60);
                }
                prop_assert_eq!(prefixes.bytes(), 10 * prefixes.nodes.len() as u64);
                prop_assert_eq!(prefixes.order.len(), prefixes.nodes.len());
                for node in prefixes.nodes.values() {
                    let found = prefixes.find(node.parent, &node.tokens);
                    prop_assert!(found.is_some_and(|id| prefixes.nodes[&id].used == node.used));
                }
            }
        }
    }
}
