//! Calls of functions, aggregates and window functions.

use super::converter::{Converter, position};
use super::text::{label, simple};
use crate::sql::ast::{Call, Expr, ExprKind, OrderTerm, Window};
use crate::sql::diagnostic::{Fault, Position};
use sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByExpr, OrderBySort, Spanned,
    WindowType,
};

impl Converter<'_> {
    /// A call of a plain function, for what has a syntax of its own.
    pub(super) fn plain_call(&mut self, name: &str, args: Vec<Expr>) -> ExprKind {
        ExprKind::Call(Box::new(Call {
            name: name.to_owned(),
            star: false,
            distinct: false,
            args,
            within: None,
            filter: None,
            over: None,
        }))
    }

    pub(super) fn function(&mut self, function: &Function, at: Position) -> Option<ExprKind> {
        let name = self.checked(simple(&function.name, "function").and_then(label))?.text;
        let odd = function.uses_odbc_syntax
            || function.parameters != FunctionArguments::None
            || function.null_treatment.is_some();
        if odd {
            return self.refuse(Fault::new(at, format!("this form of {name} is not accepted")));
        }
        let list = match &function.args {
            FunctionArguments::List(list) if list.clauses.is_empty() => list,
            FunctionArguments::List(_) => {
                let fault = Fault::new(
                    at,
                    format!("ORDER BY and other clauses inside {name}(…) are not accepted"),
                );
                return self.refuse(fault);
            }
            // current_date and its like
            FunctionArguments::None => return self.moving(&name, at),
            FunctionArguments::Subquery(_) => {
                return self.refuse(Fault::new(at, format!("{name} of a query is not accepted")));
            }
        };
        if [
            "now",
            "random",
            "clock_timestamp",
            "statement_timestamp",
            "transaction_timestamp",
            "timeofday",
            "age",
        ]
        .contains(&name.as_str())
        {
            return self.moving(&name, at);
        }
        let (mut star, mut args) = (false, Some(Vec::new()));
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(tree)) => {
                    let arg = self.expr(tree, at);
                    args = args.zip(arg).map(|(mut args, arg)| {
                        args.push(arg);
                        args
                    });
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if list.args.len() == 1 => star = true,
                _ => {
                    self.refuse::<()>(Fault::new(
                        at,
                        format!("the argument `{arg}` of {name} is not accepted"),
                    ));
                    args = None;
                }
            }
        }
        let within = match function.within_group.as_slice() {
            [] => Some(None),
            [term] => self.order_term(term, at).map(Some),
            _ => self.refuse(Fault::new(at, format!("WITHIN GROUP of {name} takes one expression"))),
        };
        let filter = match &function.filter {
            None => Some(None),
            Some(filter) => self.expr(filter, at).map(Some),
        };
        let over = match &function.over {
            None => Some(None),
            Some(over) => self.window(over, at).map(Some),
        };
        Some(ExprKind::Call(Box::new(Call {
            name,
            star,
            distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            args: args?,
            within: within?,
            filter: filter?,
            over: over?,
        })))
    }

    fn moving(&mut self, name: &str, at: Position) -> Option<ExprKind> {
        let known = [
            "now",
            "current_date",
            "current_time",
            "current_timestamp",
            "localtime",
            "localtimestamp",
        ];
        let message = match name {
            "random" => "random() is another number each time".to_owned(),
            _ if known.contains(&name) || name.ends_with("_timestamp") || ["age", "timeofday"].contains(&name) => {
                format!("{name}() moves without records; a table answers for a point of the log")
            }
            _ => {
                let fault = Fault::new(at, format!("{name} is a word of SQL and no name, unless it is quoted"));
                return self.refuse(fault.hint(format!("\"{name}\"")));
            }
        };
        let fault = Fault::new(at, message);
        self.refuse(match name {
            "random" => fault,
            _ => fault.hint("keep date_trunc('day', …) as a column and filter where you read"),
        })
    }

    fn window(&mut self, window: &WindowType, at: Position) -> Option<Window> {
        let spec = match window {
            WindowType::WindowSpec(spec) if spec.window_name.is_none() => spec,
            _ => {
                let fault = Fault::new(at, "named windows are not accepted");
                return self.refuse(fault.hint("OVER (PARTITION BY … ORDER BY …)"));
            }
        };
        if spec.window_frame.is_some() {
            return self.refuse(Fault::new(
                at,
                "window frames are not accepted: the places are those in all rows",
            ));
        }
        let partition = self.exprs(&spec.partition_by, at);
        let order = self.order_terms(&spec.order_by, at);
        Some(Window {
            partition: partition?,
            order: order?,
        })
    }

    pub(super) fn order_terms(&mut self, terms: &[OrderByExpr], at: Position) -> Option<Vec<OrderTerm>> {
        let terms: Vec<_> = terms.iter().map(|term| self.order_term(term, at)).collect();
        terms.into_iter().collect()
    }

    fn order_term(&mut self, term: &OrderByExpr, near: Position) -> Option<OrderTerm> {
        let start = term.expr.span().start;
        let at = if start.line == 0 { near } else { position(start) };
        let descending = match &term.options.sort {
            None | Some(OrderBySort::Asc) => false,
            Some(OrderBySort::Desc) => true,
            Some(_) => return self.refuse(Fault::new(at, "ORDER BY … USING is not accepted").hint("ASC or DESC")),
        };
        if term.with_fill.is_some() {
            return self.refuse(Fault::new(at, "WITH FILL is not accepted"));
        }
        Some(OrderTerm {
            expr: self.expr(&term.expr, at)?,
            descending,
            nulls_first: term.options.nulls_first,
        })
    }
}
