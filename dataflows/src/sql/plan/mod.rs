//! What a result is, once its names and types are resolved: a graph of four kinds of nodes, and of the expressions in
//! them.
//!
//! Both stand in one arena, each distinct one once, so that what several results share is one node, and numbers of
//! nodes and expressions ascend from what is read to what reads it: a loop over either in order meets inputs first.
//!
//! # Rows
//!
//! A node is a *multiset of rows*; each row has the values of [`Plan::outputs`], in order. It is a function of the
//! latest records alone: time does not occur, and no order of rows but in [`Node::Rank`]. In a row of [`Node::Posts`]
//! stand no columns but the fields of kinds ([`Scalar::Field`], [`Scalar::Key`]); expressions over any other node name
//! its columns by number ([`Scalar::Column`]).
//!
//! # Null
//!
//! A condition (the filter of a node or of an aggregate, the condition of a CASE) holds when it is true, neither when
//! it is false nor when it is null. Grouping, partitions and count(DISTINCT) hold nulls to be equal.
//!
//! # No failure
//!
//! The binder has proved that no expression can fail on any row that passes the filter below it: arithmetic stays
//! within the type, no divisor is 0, no cast leaves its type's range. It has *not* proved it of rows that the filter
//! drops (`10 / x` stands above `x > 0`), so an executor that computes before it filters has to ignore failures there.
//! A CASE (and coalesce) is lazy in the same sense: a branch is proved for rows on which its condition is the first
//! that holds. A filter itself cannot fail on any row of its input, and its terms may be computed in any order.

mod aggregate;
mod arena;
mod join;
mod scalar;

pub use aggregate::{Agg, AggKind, Fraction};
pub use arena::Plan;
pub(crate) use arena::WrittenColumn;
pub use join::{Join, JoinType, Presence};
pub use scalar::{Arith, CompareOp, Expr, ExprId, Scalar, Side, TimeUnit};

use super::types::{Facts, Ty};

/// The number of a node in its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Its place among [`Plan::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A relation: what its rows are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// One row for each key that `join` asks for and whose `filter` holds. The leaves of every plan.
    Posts {
        /// Which keys have a row, and which kinds are seen in it.
        join: Join,
        /// A condition over fields; none is true.
        filter: Option<ExprId>,
    },
    /// One row for each group of equal values of `key` that has a row in `input` (an empty input has no group; an
    /// empty `key` does not occur). Columns: the key's values, then one for each aggregate.
    Fold {
        /// What is grouped.
        input: NodeId,
        /// Over `input`; not empty. A numeric here has a fixed scale.
        key: Vec<ExprId>,
        /// Over `input`. Empty for DISTINCT.
        aggregates: Vec<Agg>,
    },
    /// The rows of `input` that `keep` asks for, each with its places within its partition. Columns: those of `input`,
    /// then one bigint from 1 for each of `places`. The places are those among *all* rows of the input's partition.
    Rank {
        /// What is ranked. Never [`Node::Posts`].
        input: NodeId,
        /// Over `input`: rows that are equal here are ranked among each other. Empty: all are.
        partition: Vec<ExprId>,
        /// Over `input`, the first decides first. With `partition` it determines the row wherever `places` has a
        /// [`PlaceKind::RowNumber`], so that no two rows share a number.
        order: Vec<Order>,
        /// Which numbers are given; not empty.
        places: Vec<Place>,
        /// Which rows stay.
        keep: Keep,
    },
    /// The rows of `input` whose `filter` holds, with other columns. Rows are not merged: equal ones remain several.
    Map {
        /// What is read. Never [`Node::Posts`].
        input: NodeId,
        /// A condition over `input`; none is true.
        filter: Option<ExprId>,
        /// Over `input`.
        columns: Vec<ExprId>,
    },
}

impl Node {
    /// The node that this one reads.
    pub fn input(&self) -> Option<NodeId> {
        match self {
            Node::Posts { .. } => None,
            Node::Fold { input, .. } | Node::Rank { input, .. } | Node::Map { input, .. } => Some(*input),
        }
    }
}

/// One term of an ORDER BY. Values are ordered as by [`CompareOp::Less`]; text by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// What is compared.
    pub by: ExprId,
    /// The greatest first.
    pub descending: bool,
    /// Whether nulls stand before all values, or after them. Independent of `descending`: defaults are resolved.
    pub nulls_first: bool,
}

/// One number that [`Node::Rank`] gives to each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which.
    pub kind: PlaceKind,
    /// How many of the first terms of the node's `order` are this one's ORDER BY; all for a row_number.
    pub terms: usize,
}

/// How rows are numbered. Peers are rows of one partition that are equal in the terms of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaceKind {
    /// `rank()`: 1 + the number of rows of the partition before this one and its peers.
    Rank,
    /// `dense_rank()`: 1 + the number of groups of peers before this one's.
    DenseRank,
    /// `row_number()`: 1 + the number of rows before this one.
    RowNumber,
}

/// Which rows a [`Node::Rank`] keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// All: only where `{top}` is 0.
    All,
    /// Those of which at least one place is within its bound: (number in `places`, greatest value kept ≥ 1), each place
    /// at most once, in ascending order. Not empty.
    Within(Vec<(usize, u64)>),
}

/// What is known of a column of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its type.
    pub ty: Ty,
    /// Of every row of the node.
    pub facts: Facts,
    /// What holds also where PostgreSQL may compute a filter above this node before the filters below it. `None`: the
    /// column itself could fail there, so no filter may name it.
    pub(crate) unfiltered: Option<Facts>,
}
