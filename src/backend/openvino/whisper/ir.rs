//! OpenVINO's model description (IR), as far as we read and change it: where its weights end, and
//! the cross-attention that exports keep to themselves.
//!
//! The IR is XML: layers with numbered ports, and edges between ports. Constants name a place in the
//! `.bin` beside it. A `Result` layer makes any port an output.

use std::collections::HashMap;
use std::fmt::Write as _;

use roxmltree::{Document, Node, ParsingOptions};

/// Nodes of an XML file: decoders of large models have about 100,000.
const MOST_NODES: u32 = 4_000_000;

type Port = (u32, u32);

/// A model description, read once.
pub(super) struct Ir<'a> {
    text: &'a str,
    layers: HashMap<u32, Node<'a, 'a>>,
    /// In the order of the file, which is topological.
    order: Vec<u32>,
    /// From the port a value goes to, to the port it comes from.
    sources: HashMap<Port, Port>,
    edges: Vec<Node<'a, 'a>>,
}

/// A description with the cross-attention in the open.
pub(super) struct Exposed {
    /// The changed XML: only `query_N` and `key_N` are outputs, for each layer N of the decoder.
    pub(super) xml: String,
    /// What the attention multiplies query times key with; `None` stands for 1/sqrt(width).
    pub(super) scale: Option<Scale>,
    /// Layers of the decoder.
    pub(super) layers: usize,
}

/// A constant in the `.bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) offset: u64,
    /// 2 or 4 bytes of a float.
    pub(super) bytes: u64,
}

/// Parses XML without a document type, which could blow up in memory.
pub(super) fn parse(text: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES };
    Document::parse_with_options(text, options).map_err(|error| error.to_string())
}

impl<'a> Ir<'a> {
    pub(super) fn new(text: &'a str, document: &'a Document<'a>) -> Result<Self, String> {
        let net = document.root_element();
        let part = |name: &str| {
            let found = net.children().find(|node| node.has_tag_name(name));
            found.ok_or_else(|| format!("has no <{name}>"))
        };
        let mut ir = Self {
            text,
            layers: HashMap::new(),
            order: Vec::new(),
            sources: HashMap::new(),
            edges: part("edges")?.children().filter(Node::is_element).collect(),
        };
        for layer in part("layers")?.children().filter(|node| node.has_tag_name("layer")) {
            let id = number(&layer, "id").ok_or("has a layer without a number")?;
            ir.layers.insert(id, layer);
            ir.order.push(id);
        }
        for edge in &ir.edges {
            let end = |name| number(edge, name).ok_or("has an edge without ends");
            let from = (end("from-layer")?, end("from-port")?);
            ir.sources.insert((end("to-layer")?, end("to-port")?), from);
        }
        Ok(ir)
    }

    /// Bytes that the `.bin` must have: where the last constant ends.
    pub(super) fn weights_end(&self) -> Result<u64, String> {
        let mut end = 0;
        for data in self.layers.values().filter(|layer| kind(layer) == "Const").filter_map(data) {
            let read = |name| number::<u64>(&data, name);
            let (Some(offset), Some(size)) = (read("offset"), read("size")) else {
                return Err("has a constant without a place".into());
            };
            let last = offset.checked_add(size).ok_or("has a constant beyond any file")?;
            end = end.max(last);
        }
        Ok(end)
    }

    /// Bytes of constants that are half-precision floats.
    pub(super) fn halves(&self) -> u64 {
        let data = self.layers.values().filter(|layer| kind(layer) == "Const").filter_map(data);
        let halves = data.filter(|data| data.attribute("element_type") == Some("f16"));
        halves.filter_map(|data| number::<u64>(&data, "size")).fold(0, u64::saturating_add)
    }

    /// Layers of the graph.
    pub(super) fn layers(&self) -> u64 {
        self.layers.len() as u64
    }

    /// Makes query and key of each cross-attention outputs, in place of the logits.
    pub(super) fn expose_cross_attention(&self) -> Result<Exposed, String> {
        let attentions: Vec<u32> =
            self.order.iter().copied().filter(|&id| self.is_cross(id)).collect();
        let Some(&first) = attentions.first() else {
            return Err("has no cross-attention over encoder_hidden_states".into());
        };
        let states = self.states(&attentions);
        let (mut layers, mut edges) = (String::new(), String::new());
        let mut next = self.order.iter().max().map_or(0, |id| id.saturating_add(1));
        for (index, &attention) in attentions.iter().enumerate() {
            for (input, name) in [(0, "query"), (1, "key")] {
                let source = self.input(attention, input);
                let source = source.ok_or("has an attention without inputs")?;
                let source = states.get(&source.0).copied().unwrap_or(source);
                let port = self.output_port(source).ok_or("has an edge from nowhere")?;
                result(&mut layers, next, &format!("{name}_{index}"), &port);
                add_edge(&mut edges, source, (next, 0));
                next = next.checked_add(1).ok_or("has too many layers")?;
            }
        }
        let xml = self.rewrite(&states, &layers, edges)?;
        Ok(Exposed { xml, scale: self.scale(first), layers: attentions.len() })
    }

    /// Whether `id` attends to what the encoder made: following each first input back from its key
    /// leads to `encoder_hidden_states`, where a self-attention's key leads to the tokens.
    fn is_cross(&self, id: u32) -> bool {
        if self.layers.get(&id).map(kind) != Some("ScaledDotProductAttention") {
            return false;
        }
        let mut at = self.input(id, 1);
        // Bounded, for a broken file may have a cycle.
        for _ in 0..self.order.len() {
            let Some((layer, _)) = at else { return false };
            let Some(node) = self.layers.get(&layer) else { return false };
            if kind(node) == "Parameter" {
                return node.descendants().any(|port| {
                    let names = port.attribute("names").unwrap_or("");
                    names.split(',').any(|name| name == "encoder_hidden_states")
                });
            }
            at = self.input(layer, 0);
        }
        false
    }

    /// Where input number `index` of layer `id` comes from.
    fn input(&self, id: u32, index: usize) -> Option<Port> {
        let layer = self.layers.get(&id)?;
        let inputs = layer.children().find(|node| node.has_tag_name("input"))?;
        let port = inputs.children().filter(Node::is_element).nth(index)?;
        self.sources.get(&(id, number(&port, "id")?)).copied()
    }

    fn output_port(&self, (layer, port): Port) -> Option<Node<'a, 'a>> {
        let outputs =
            self.layers.get(&layer)?.children().find(|node| node.has_tag_name("output"))?;
        outputs.children().find(|node| number(node, "id") == Some(port))
    }

    fn scale(&self, attention: u32) -> Option<Scale> {
        let (source, _) = self.input(attention, 4)?;
        let data = data(self.layers.get(&source)?)?;
        Some(Scale { offset: number(&data, "offset")?, bytes: number(&data, "size")? })
    }

    /// The states that keep the cross-attention's keys and values, with where these come from. One
    /// pass needs no memory, and the CPU plugin fails on a state that only itself reads.
    fn states(&self, attentions: &[u32]) -> HashMap<u32, Port> {
        let inputs = attentions.iter().flat_map(|&id| [self.input(id, 1), self.input(id, 2)]);
        let states = inputs.flatten().filter(|(id, _)| self.kind_of(*id) == "ReadValue");
        states.filter_map(|(id, _)| Some((id, self.input(id, 0)?))).collect()
    }

    fn kind_of(&self, id: u32) -> &'a str {
        self.layers.get(&id).map_or("", kind)
    }

    /// The text without its outputs and without `states`, with `layers` and `edges` added.
    fn rewrite(
        &self,
        states: &HashMap<u32, Port>,
        layers: &str,
        mut edges: String,
    ) -> Result<String, String> {
        let is_cut = |id: u32| match self.kind_of(id) {
            "Result" => true,
            "Assign" => self.input(id, 0).is_some_and(|(from, _)| states.contains_key(&from)),
            _ => states.contains_key(&id),
        };
        let gone = self.order.iter().copied().filter(|&id| is_cut(id));
        let mut cuts: Vec<_> = gone.map(|id| self.layers[&id].range()).collect();
        for edge in &self.edges {
            let end = |name| number::<u32>(edge, name).unwrap_or(u32::MAX);
            let (from, to) = (end("from-layer"), end("to-layer"));
            let state = states.get(&from);
            if is_cut(to) || state.is_some() {
                cuts.push(edge.range());
            }
            if let (Some(&source), false) = (state, is_cut(to)) {
                add_edge(&mut edges, source, (to, end("to-port")));
            }
        }
        cuts.sort_by_key(|range| range.start);
        let mut xml = String::with_capacity(self.text.len() + layers.len() + edges.len());
        let mut done = 0;
        for cut in cuts {
            xml.push_str(self.text.get(done..cut.start).ok_or("has overlapping layers")?);
            done = cut.end;
        }
        xml.push_str(self.text.get(done..).ok_or("has overlapping layers")?);
        for (end, more) in [("</layers>", layers), ("</edges>", &edges)] {
            let at = xml.rfind(end).ok_or_else(|| format!("has no {end}"))?;
            xml.insert_str(at, more);
        }
        Ok(xml)
    }
}

fn add_edge(edges: &mut String, (from, out): Port, (to, input): Port) {
    // Writing to a String cannot fail.
    let _ = write!(
        edges,
        r#"<edge from-layer="{from}" from-port="{out}" to-layer="{to}" to-port="{input}"/>"#
    );
}

/// Appends a `Result` layer that makes `port` an output called `name`.
fn result(layers: &mut String, id: u32, name: &str, port: &Node<'_, '_>) {
    let precision = port.attribute("precision").unwrap_or("FP32");
    let dims = port.children().filter(|node| node.has_tag_name("dim"));
    let dims: String =
        dims.map(|dim| format!("<dim>{}</dim>", dim.text().unwrap_or("-1"))).collect();
    let _ = write!(
        layers,
        r#"<layer id="{id}" name="{name}" type="Result" version="opset1" output_names="{name}"><input><port id="0" precision="{precision}">{dims}</port></input></layer>"#
    );
}

fn kind<'a>(layer: &Node<'a, 'a>) -> &'a str {
    layer.attribute("type").unwrap_or("")
}

fn data<'a>(layer: &Node<'a, 'a>) -> Option<Node<'a, 'a>> {
    layer.children().find(|node| node.has_tag_name("data"))
}

fn number<T: std::str::FromStr>(node: &Node<'_, '_>, name: &str) -> Option<T> {
    node.attribute(name)?.parse().ok()
}
