//! Edits of headers, level by level.

use crate::{
    config::{AppendAction, HeaderEdits, RouteTable, WeightedCluster},
    head::Fields,
    route::Selected,
};

impl HeaderEdits {
    /// Edits the fields: removals come first, as in Envoy.
    pub fn apply(&self, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove(name);
        }
        self.write.iter().for_each(|edit| write(edit.action, &edit.name, edit.value.as_bytes(), fields));
    }
}

/// Writes one field.
pub(crate) fn write(action: AppendAction, name: &str, value: &[u8], fields: &mut Fields) {
    match action {
        AppendAction::Append => fields.append(name, value),
        AppendAction::Overwrite => fields.set(name, value),
        AppendAction::IfAbsent if !fields.contains(name) => fields.append(name, value),
        AppendAction::OverwriteIfPresent if fields.contains(name) => fields.set(name, value),
        AppendAction::IfAbsent | AppendAction::OverwriteIfPresent => {}
    }
}

/// Edits a request that is forwarded.
pub fn edit_request(table: &RouteTable, selected: Selected<'_>, cluster: &WeightedCluster, fields: &mut Fields) {
    let levels = [
        &cluster.request_headers,
        &selected.route.request_headers,
        &selected.host.request_headers,
        &table.request_headers,
    ];
    apply(table, &levels, fields);
}

/// Edits a response: a backend's, or (without a cluster) one of our own to a redirect or a direct response.
pub fn edit_response(
    table: &RouteTable,
    selected: Selected<'_>,
    cluster: Option<&WeightedCluster>,
    fields: &mut Fields,
) {
    let none = HeaderEdits::default();
    let levels = [
        cluster.map_or(&none, |cluster| &cluster.response_headers),
        &selected.route.response_headers,
        &selected.host.response_headers,
        &table.response_headers,
    ];
    apply(table, &levels, fields);
}

/// From the most specific level to the table, so that the table has the last word; or the other way round.
fn apply(table: &RouteTable, levels: &[&HeaderEdits; 4], fields: &mut Fields) {
    if table.most_specific_wins {
        levels.iter().rev().for_each(|edits| edits.apply(fields));
    } else {
        levels.iter().for_each(|edits| edits.apply(fields));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HeaderEdit;

    #[test]
    fn edits_follow_their_actions() {
        let edit = |name: &str, value: &str, action| HeaderEdit { name: name.into(), value: value.into(), action };
        let edits = HeaderEdits {
            remove: Box::new(["gone".into(), "back".into()]),
            write: Box::new([
                edit("back", "1", AppendAction::Append),
                edit("more", "2", AppendAction::Append),
                edit("over", "2", AppendAction::Overwrite),
                edit("absent", "1", AppendAction::IfAbsent),
                edit("there", "2", AppendAction::IfAbsent),
                edit("there", "3", AppendAction::OverwriteIfPresent),
                edit("nowhere", "1", AppendAction::OverwriteIfPresent),
            ]),
        };
        let mut fields = Fields::default();
        for name in ["gone", "back", "more", "over", "over", "there"] {
            fields.append(name, b"0");
        }
        edits.apply(&mut fields);
        let text: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", value[0] as char)).collect();
        assert_eq!(text, ["more=0", "over=2", "there=3", "back=1", "more=2", "absent=1"]);
    }
}
