//! What a query becomes.

use super::one;
use crate::sql::plan::{AggKind, Keep, Node, Place, PlaceKind, Plan, Scalar};
use crate::sql::{Catalog, ResultSpec, built_in, compile};

fn nodes(catalog: &Catalog, result: &ResultSpec) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut next = Some(result.node);
    while let Some(id) = next {
        nodes.push(catalog.plan.node(id).clone());
        next = catalog.plan.node(id).input();
    }
    nodes
}

fn kinds(nodes: &[Node]) -> String {
    let kind = |node: &Node| match node {
        Node::Posts { .. } => "posts",
        Node::Fold { .. } => "fold",
        Node::Rank { .. } => "rank",
        Node::Map { .. } => "map",
    };
    nodes.iter().rev().map(kind).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_built_in_results_are_few_nodes() {
    let options = crate::sql::Options { top: 10 };
    let catalog = compile(&built_in(), &crate::sql::Schema::cleaned(), &options).unwrap();
    let of = |name: &str| {
        let result = catalog.results.iter().find(|result| result.name == name).unwrap();
        nodes(&catalog, result)
    };
    let ranked = of("popular_category_by_country");
    assert_eq!(kinds(&ranked), "posts fold rank map");
    let Node::Rank {
        order,
        places,
        keep,
        partition,
        ..
    } = &ranked[1]
    else {
        unreachable!()
    };
    assert_eq!((order.len(), partition.len()), (2, 1));
    let place = |kind, terms| Place { kind, terms };
    assert_eq!(*places, [place(PlaceKind::Rank, 1), place(PlaceKind::RowNumber, 2)]);
    assert_eq!(*keep, Keep::Within(vec![(0, 1), (1, 10)]));
    let Node::Map { filter, .. } = &ranked[0] else {
        unreachable!()
    };
    assert_eq!(*filter, None, "what the rank keeps is all that the filter asks for");
    assert_eq!(kinds(&of("median_followers_by_age_group")), "posts fold");
    assert_eq!(kinds(&of("users_joined_by_year")), "posts fold");
    assert_eq!(kinds(&of("country_of_top_poster")), "posts fold rank map map rank map");
    // popular_* of one join, and medians of one, read one filter each at most
    let posts = catalog
        .plan
        .nodes()
        .iter()
        .filter(|node| matches!(node, Node::Posts { .. }));
    assert_eq!(posts.count(), 9);
}

#[test]
fn without_a_top_everything_is_kept() {
    let options = crate::sql::Options { top: 0 };
    let catalog = compile(&built_in(), &crate::sql::Schema::cleaned(), &options).unwrap();
    let keep: Vec<_> = catalog
        .plan
        .nodes()
        .iter()
        .filter_map(|node| match node {
            Node::Rank { keep, .. } => Some(keep.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(keep.iter().filter(|keep| **keep == Keep::All).count(), 5);
    assert_eq!(
        keep.last(),
        Some(&Keep::Within(vec![(0, 1)])),
        "of all, the first alone"
    );
}

#[test]
fn a_top_of_0_may_stand_behind_the_bound() {
    let sql = "SELECT country, n FROM (SELECT country, count(*) AS n, rank() OVER (ORDER BY count(*)) AS r FROM geo_table \
               WHERE country IS NOT NULL GROUP BY 1) AS t WHERE n > 1 AND (r = 1 OR (r <= {top} OR {top} = 0))";
    let options = crate::sql::Options { top: 0 };
    let catalog = compile(&[super::file("r", sql)], &crate::sql::Schema::cleaned(), &options).unwrap();
    let rank = |node: &Node| matches!(node, Node::Rank { keep: Keep::All, .. });
    assert!(catalog.plan.nodes().iter().any(rank));
}

#[test]
fn a_bound_that_is_not_exact_remains_a_filter() {
    let sql = |bound: &str| {
        format!(
            "SELECT country, n FROM (SELECT country, count(*) AS n, rank() OVER (ORDER BY count(*)) AS r FROM geo_table \
             WHERE country IS NOT NULL GROUP BY 1) AS t WHERE {bound}"
        )
    };
    for (bound, most, filtered) in [
        ("r <= 3", 3, false),
        ("r < 3", 2, false),
        ("3 > r", 2, false),
        ("r = 1", 1, false),
        ("r = 3", 3, true),
        ("(r = 3 OR r <= 2)", 3, true),
        ("r <= 3 AND n > 5", 3, true),
        ("r <= 3 AND r <= 2", 3, true),
    ] {
        let catalog = one(&sql(bound)).unwrap();
        let nodes = nodes(&catalog, &catalog.results[0]);
        assert_eq!(kinds(&nodes), "posts fold rank map");
        let Node::Rank { keep, .. } = &nodes[1] else {
            unreachable!()
        };
        assert_eq!(*keep, Keep::Within(vec![(0, most)]), "{bound}");
        let Node::Map { filter, .. } = &nodes[0] else {
            unreachable!()
        };
        assert_eq!(filter.is_some(), filtered, "{bound}");
    }
    for bound in [
        "r > 0",
        "r <= 3 OR n > 5",
        "r <= n",
        "NOT r > 3",
        "r <= 0",
        "r IN (1, 2)",
        "r IS NOT NULL",
    ] {
        let said = one(&sql(bound)).unwrap_err();
        assert!(said[0].message.contains("without a bound"), "{bound}: {}", said[0]);
    }
}

#[test]
fn conversions_are_written_out() {
    let sql = "SELECT age, sum(CASE WHEN ind > age THEN 1 ELSE ind END) AS s, avg(age + 1.5) AS a FROM user_table \
               WHERE age IS NOT NULL GROUP BY 1";
    let catalog = one(sql).unwrap();
    let plan: &Plan = &catalog.plan;
    for (id, expr) in plan.exprs().iter().enumerate() {
        let types: Vec<_> = expr
            .scalar
            .arguments()
            .iter()
            .map(|argument| plan.ty(*argument))
            .collect();
        match &expr.scalar {
            Scalar::Compare(..) => assert_eq!(types[0], types[1]),
            Scalar::Arith(..) => assert_eq!(types, [expr.ty, expr.ty]),
            Scalar::Case(..) => assert_eq!(types[1..], [expr.ty, expr.ty]),
            _ => {}
        }
        assert!(expr.scalar.arguments().iter().all(|argument| argument.index() < id));
    }
}

#[test]
fn counted_wide_text_is_a_test_for_null() {
    let catalog =
        one("SELECT age, count(title) AS n FROM pin_table JOIN user_table USING (ind) WHERE age > 0 GROUP BY 1")
            .unwrap();
    let nodes = nodes(&catalog, &catalog.results[0]);
    let Node::Fold { aggregates, .. } = &nodes[0] else {
        unreachable!()
    };
    assert_eq!(aggregates[0].kind, AggKind::CountRows);
    assert!(aggregates[0].filter.is_some() && aggregates[0].args.is_empty());
}

/// What IN looks for is written out, also where it is the value of a key.
#[test]
fn a_literal_stays_one_over_groups() {
    let sql = "SELECT 1 AS one, max(age) IN (1, 3) AS b, count(*) AS n FROM user_table GROUP BY 1";
    let catalog = one(sql).unwrap();
    let items = catalog.plan.exprs().iter().filter_map(|expr| match &expr.scalar {
        Scalar::In(_, items) => Some(items),
        _ => None,
    });
    let items: Vec<_> = items.flatten().map(|item| catalog.plan.scalar(*item)).collect();
    assert!(items.iter().all(|item| item.is_literal()), "{items:?}");
}

/// A name of the select list goes before a column, whether or not it was given by AS.
#[test]
fn an_order_names_items_first() {
    let sql = "SELECT k, count(*) AS n FROM (SELECT ind AS k, geo.ind, count(*) AS n FROM pin_table AS pin FULL JOIN \
               geo_table AS geo USING (ind) GROUP BY 1, 2 ORDER BY ind DESC, 1, 2 LIMIT 1) AS t GROUP BY k";
    let catalog = one(sql).unwrap();
    let order = catalog.plan.nodes().iter().find_map(|node| match node {
        Node::Rank { order, .. } => Some(order[0]),
        _ => None,
    });
    let order = order.unwrap();
    assert_eq!(
        *catalog.plan.scalar(order.by),
        Scalar::Column(1),
        "geo.ind, not the key of the join"
    );
}
