//! The templates of a Secret, and what they come to for one grant. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::preset::{ARGOCD_CONFIG, Preset, Register};
use super::{Knows, Namer, Wrong, parse};
use crate::delivery::{
    HubName, KubeconfigNames, OutputId, Piece, Registration, RegistrationForm, SecretForm, SecretPlace, SecretTarget,
};
use crate::inventory::file::OutputTable;
use crate::inventory::problem::{At, Location};
use crate::inventory::target::SecretReader;
use crate::inventory::{Grant, Holder, InventoryName, syntax};
use crate::object::{Kind, ObjectRef};
use crate::resolution::Context;
use crate::selector;
use crate::template::{Part, Template};

/// The parsed templates of an output.
pub(super) struct Templates {
    name: (Template, Location),
    labels: Vec<(String, Template, Location)>,
    annotations: Vec<(String, Template, Location)>,
    data: Vec<(Template, Template, Location)>,
    register: Option<(Template, Location)>,
}

/// What variables stand for.
pub(super) struct Values<'a> {
    pub(super) grant: &'a Grant,
    pub(super) inventory: &'a InventoryName,
    pub(super) holder: &'a Holder,
}

impl Templates {
    /// Parses all templates; reports what is wrong with any.
    pub(super) fn parse(
        preset: &Preset,
        name: &At<String>,
        output: &OutputTable,
        ctx: &mut Context<'_>,
    ) -> Option<Self> {
        let at = |text: &String| At::new(text.clone(), name.location);
        let mut is_whole = true;
        let mut named = |own: &[(String, String)], typed: Vec<(String, At<String>)>, ctx: &mut Context<'_>| {
            let own = own.iter().map(|(key, value)| (key.clone(), at(value)));
            let mut templates = vec![];
            // What a consumer needs is not overruled.
            let typed = typed.into_iter().filter(|(key, _)| !preset.has(key));
            for (key, text) in own.chain(typed) {
                match parse(&text, Knows::Names, ctx) {
                    Some(template) => templates.push((key, template, text.location)),
                    None => is_whole = false,
                }
            }
            templates
        };
        let typed = |table: &Option<At<crate::inventory::read::Named<String>>>| -> Vec<(String, At<String>)> {
            let entries = table.iter().flat_map(|table| &table.value.0);
            entries.map(|(key, value)| (key.value.clone(), value.clone())).collect()
        };
        for (key, _) in output.labels.iter().chain(&output.annotations).flat_map(|table| &table.value.0) {
            if preset.has(&key.value) {
                ctx.error(key.location, format!("the consumer needs `{}` as it is, so it cannot be set", key.value));
            }
        }
        let labels = named(&preset.labels, typed(&output.labels), ctx);
        let annotations = named(&preset.annotations, typed(&output.annotations), ctx);
        let mut data = vec![];
        let own = preset.data.iter().map(|(key, value)| (at(key), at(value)));
        let of_inventory = output.data.iter().flat_map(|table| table.value.0.iter().cloned());
        let knows = if preset.data.is_empty() { Knows::Credential } else { Knows::Everything };
        for (key, value) in own.chain(of_inventory) {
            let parsed = (parse(&key, Knows::Names, ctx), parse(&value, knows, ctx));
            let (Some(key_template), Some(template)) = parsed else {
                is_whole = false;
                continue;
            };
            if let Some(problem) = misplaced(&template) {
                ctx.error(value.location, problem);
                is_whole = false;
            }
            data.push((key_template, template, value.location));
        }
        let holds_token =
            |(_, template, _): &(Template, Template, Location)| template.parts().iter().any(is_credential);
        if is_whole && output.data.is_some() && !data.iter().any(holds_token) {
            let location = output.data.as_ref().map_or(name.location, |data| data.location);
            ctx.error(location, "no key of `data` holds the credential: one needs `{token}` or `{kubeconfig}`");
            is_whole = false;
        }
        let template = parse(name, Knows::Names, ctx)?;
        let register = match &preset.register {
            Some(register) => Some((parse(&register.name, Knows::Names, ctx)?, register.name.location)),
            None => None,
        };
        is_whole.then_some(Self { name: (template, name.location), labels, annotations, data, register })
    }

    /// Returns the Secret of one grant.
    ///
    /// # Errors
    ///
    /// If something in it is not valid for that grant.
    pub(super) fn target(
        &self,
        output: OutputId,
        (hub, namespace): (&HubName, &str),
        preset: &Preset,
        values: &Values<'_>,
    ) -> Result<SecretTarget, Wrong> {
        let (template, location) = &self.name;
        let name = values.text(template, *location)?;
        syntax::dns_subdomain(&name)
            .map_err(|reason| Wrong::name(*location, "the name of the Secret", &name, &reason))?;
        let mut labels = BTreeMap::new();
        for (key, template, location) in &self.labels {
            let value = values.text(template, *location)?;
            let of = |message| Wrong::new(*location, format!("{message} (label `{key}`)"));
            selector::validate_label_value(&value).map_err(of)?;
            labels.insert(key.clone(), value);
        }
        let mut annotations = BTreeMap::new();
        for (key, template, location) in &self.annotations {
            annotations.insert(key.clone(), values.text(template, *location)?);
        }
        let [context, cluster, user] = preset.kubeconfig.map(|text| values.preset_text(text));
        let names = KubeconfigNames { context, cluster, user };
        let mut data = BTreeMap::new();
        for (key, template, location) in &self.data {
            let key = values.text(key, *location)?;
            is_key(&key).map_err(|reason| Wrong::name(*location, "the key", &key, &reason))?;
            let pieces = values.pieces(template, &names, *location)?;
            if data.insert(key.clone(), pieces).is_some() {
                return Err(Wrong::new(*location, format!("two keys of the Secret are called `{key}`")));
            }
        }
        let place = SecretPlace { hub: hub.clone(), namespace: namespace.to_owned(), name };
        let registration = match preset.register.as_ref().zip(self.register.as_ref()) {
            Some((register, (template, location))) => {
                let name = values.text(template, *location)?;
                let wrong = |reason: String| {
                    Wrong::name(*location, &format!("the name of the {}", register.kind), &name, &reason)
                };
                syntax::dns_subdomain(&name).map_err(wrong)?;
                Some(register.of(&name, &place, &names.context, &labels))
            }
            None => None,
        };
        Ok(SecretTarget {
            output,
            grant: values.grant.key(),
            place,
            form: SecretForm {
                secret_type: preset.secret_type.clone(),
                labels,
                annotations,
                data,
                identity: preset.identity.map(str::to_owned),
                rotation: preset.rotation,
                workload: preset.workload.clone(),
                creates_namespace: false,
                registration,
            },
        })
    }
}

impl Values<'_> {
    /// Returns the value of a variable; nothing for a label that the cluster does not have.
    fn value(&self, variable: &str) -> Option<&str> {
        let (inventory, holder): Namer<'_> = (self.inventory, self.holder);
        match variable {
            "cluster" => Some(self.grant.cluster.name.as_str()),
            "profile" => Some(self.grant.profile.name.as_str()),
            "inventory" => Some(inventory.as_str()),
            "holder" => Some(holder.as_str()),
            other => self.grant.cluster.labels.get(other.strip_prefix("labels.")?).map(String::as_str),
        }
    }

    fn text(&self, template: &Template, location: Location) -> Result<String, Wrong> {
        let mut text = String::new();
        for part in template.parts() {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => text.push_str(self.known(name, location)?),
            }
        }
        Ok(text)
    }

    fn known(&self, variable: &str, location: Location) -> Result<&str, Wrong> {
        self.value(variable).ok_or_else(|| {
            let key = variable.strip_prefix("labels.").unwrap_or(variable);
            Wrong::new(location, format!("cluster `{}` has no label `{key}`", self.grant.cluster.name))
        })
    }

    /// Expands a template of a preset, which needs no label.
    fn preset_text(&self, text: &str) -> String {
        let template = Template::parse_with(text, |name| self.value(name).is_some());
        template.expect("presets are valid").expand(|name| self.value(name).expect("only known variables were parsed"))
    }

    fn pieces(&self, template: &Template, names: &KubeconfigNames, location: Location) -> Result<Vec<Piece>, Wrong> {
        let mut pieces: Vec<Piece> = vec![];
        for part in template.parts() {
            let piece = match part {
                Part::Text(text) => Piece::Text(text.clone()),
                Part::Variable(name) => match name.as_str() {
                    "token" => Piece::Token,
                    "ca" => Piece::Authority,
                    "server" => Piece::Server,
                    "kubeconfig" => Piece::Kubeconfig(names.clone()),
                    ARGOCD_CONFIG => Piece::ArgocdConfig,
                    name => Piece::Text(self.known(name, location)?.to_owned()),
                },
            };
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => pieces.push(piece),
            }
        }
        Ok(pieces)
    }
}

impl Register {
    /// Returns the object of one Secret; `context` is the one in its kubeconfig, and `labels` are its labels.
    fn of(&self, name: &str, secret: &SecretPlace, context: &str, labels: &BTreeMap<String, String>) -> Registration {
        let spec = |fields: Value| {
            let fields = fields.as_object().into_iter().flatten();
            RegistrationForm::Spec(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        let namespace = self.namespace.as_ref().unwrap_or(&secret.namespace);
        let namespaced = ObjectRef::namespaced(self.kind, namespace, name);
        let (object, form) = match (self.kind, self.reader) {
            // libsveltos, `api/v1beta1/sveltoscluster_type.go`.
            (Kind::SveltosCluster, _) => {
                (namespaced, spec(json!({ "kubeconfigName": secret.name, "kubeconfigKeyName": "kubeconfig" })))
            }
            // Tigera's `pkg/apis/projectcalico/v3/remoteclusterconfig.go`.
            (Kind::RemoteClusterConfiguration, _) => {
                let of_secret = json!({ "kind": "Secret", "namespace": secret.namespace, "name": secret.name });
                (ObjectRef::cluster_scoped(self.kind, name), spec(json!({ "clusterAccessSecret": of_secret })))
            }
            // The plugins of cluster-inventory-api: `secretreader` finds the Secret by the name of a cluster.
            (_, SecretReader::Token) => {
                let config = json!({ "clusterName": secret.name });
                (namespaced, RegistrationForm::AccessProvider { name: "secretreader".to_owned(), config })
            }
            (_, SecretReader::Kubeconfig) => {
                let config = json!({
                    "name": secret.name,
                    "namespace": secret.namespace,
                    "key": "kubeconfig",
                    "context": context,
                });
                (namespaced, RegistrationForm::AccessProvider { name: "kubeconfig-secretreader".to_owned(), config })
            }
        };
        let labels = match self.kind {
            Kind::SveltosCluster => labels.clone(),
            _ => BTreeMap::new(),
        };
        Registration { object, form, labels }
    }
}

impl Preset {
    /// Whether it sets a label or an annotation itself.
    fn has(&self, key: &str) -> bool {
        self.labels.iter().chain(&self.annotations).any(|(own, _)| own == key)
    }
}

fn is_credential(part: &Part) -> bool {
    matches!(part, Part::Variable(name) if matches!(name.as_str(), "token" | "kubeconfig" | ARGOCD_CONFIG))
}

/// Says why a credential could not be found again in a value.
fn misplaced(template: &Template) -> Option<&'static str> {
    let parts = template.parts();
    let is_of_token = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Variable(name) if name == "kubeconfig" && parts.len() > 1 => {
                return Some("`{kubeconfig}` must stand alone in its value");
            }
            Part::Variable(name) if name == "token" => {
                let before = at.checked_sub(1).and_then(|before| parts.get(before));
                let touches = |part: Option<&Part>, edge: fn(&str) -> Option<char>| match part {
                    None => false,
                    Some(Part::Text(text)) => is_of_token(edge(text)),
                    Some(Part::Variable(_)) => true,
                };
                if touches(before, |text| text.chars().last()) || touches(parts.get(at + 1), |text| text.chars().next())
                {
                    return Some("`{token}` must not touch letters, digits, `-`, `_`, `.` or another variable");
                }
            }
            Part::Variable(_) | Part::Text(_) => {}
        }
    }
    None
}

/// A key of a Secret (`IsConfigMapKey` of Kubernetes).
fn is_key(key: &str) -> syntax::Verdict {
    let is_valid = (1..=253).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !key.starts_with("..")
        && key != ".";
    if is_valid { Ok(()) } else { Err("it must have 1 to 253 letters, digits, `-`, `_` or `.`".to_owned()) }
}
