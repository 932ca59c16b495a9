//! What names mean: which column of the relation that a SELECT reads.

use super::binder::Binder;
use super::relation::{RelationColumn, Scope, What};
use crate::sql::ast::Name;
use crate::sql::diagnostic::{Checked, Fault};
use crate::sql::plan::{ExprId, Scalar};
use crate::sql::print::as_written;
use crate::sql::types::Ty;

impl Binder<'_> {
    /// What a column's name means.
    pub(super) fn resolve(&self, scope: &Scope, relation: Option<&Name>, name: &Name) -> Checked<What> {
        let columns = |places: &[usize]| -> Vec<What> {
            let columns = places.iter().map(|place| &scope.relation.columns[*place]);
            columns
                .filter(|column| column.name == name.text)
                .map(|column| column.what)
                .collect()
        };
        let Some(relation) = relation else {
            if let Some((_, key)) = scope.merged.as_ref().filter(|(merged, _)| *merged == name.text) {
                return Ok(What::Expr(*key));
            }
            let found: Vec<_> = scope.parts.iter().flat_map(|(_, places)| columns(places)).collect();
            return match found.as_slice() {
                [one] => Ok(*one),
                [] => Err(self.unknown(scope, name)),
                _ => {
                    let fault = Fault::new(name.position, format!("ambiguous column {}", name.text));
                    Err(fault.hint(format!("{}.{}", as_written(&scope.parts[0].0), as_written(&name.text))))
                }
            };
        };
        let Some((_, places)) = scope.parts.iter().find(|(part, _)| *part == relation.text) else {
            let fault = Fault::new(
                relation.position,
                format!("table {} is not in this FROM", relation.text),
            );
            let parts: Vec<_> = scope.parts.iter().map(|(part, _)| as_written(part)).collect();
            return Err(fault.hint(format!("tables: {}", parts.join(", "))));
        };
        match columns(places).as_slice() {
            [one] => Ok(*one),
            [] => Err(self.unknown(scope, name)),
            _ => Err(Fault::new(
                name.position,
                format!("{}.{} names several columns", relation.text, name.text),
            )),
        }
    }

    fn unknown(&self, scope: &Scope, name: &Name) -> Fault {
        let fault = Fault::new(name.position, format!("column {} does not exist", name.text));
        let mut names: Vec<_> = scope
            .relation
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        match names.iter().min_by_key(|known| distance(known, &name.text)) {
            Some(nearest) if distance(nearest, &name.text) <= 2 => {
                fault.hint(format!("did you mean {}?", as_written(nearest)))
            }
            _ => {
                let names: Vec<_> = names.into_iter().map(as_written).collect();
                fault.hint(format!("columns: {}", names.join(", ")))
            }
        }
    }

    /// The columns of a kind; `key` says that its key is the one of the join.
    pub(super) fn kind_columns(&mut self, kind: usize, key: bool) -> Vec<RelationColumn> {
        let schema = self.schema;
        let mut columns = Vec::new();
        for (place, column) in schema.kinds[kind].columns.iter().enumerate() {
            let what = match column.elements {
                Some(_) => What::Array(kind, place),
                None if key && column.name == schema.key => What::Expr(self.plan.add(Scalar::Key, column.ty)),
                None => What::Expr(self.field(kind, place, 0, column.ty)),
            };
            columns.push(RelationColumn {
                name: column.name.clone(),
                what,
            });
        }
        columns
    }

    pub(super) fn field(&mut self, kind: usize, column: usize, element: u8, ty: Ty) -> ExprId {
        let scalar = Scalar::Field {
            kind: kind as u8,
            column: column as u16,
            element,
        };
        self.plan.add(scalar, ty)
    }
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}
