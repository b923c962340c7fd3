//! GGUF models among the files of a folder or repository: which files are one, and which one is taken.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::names::is_gguf;

/// The order in which quantisations are taken when none is asked for: four bits, which most
/// computers have the memory for, then more, then what loses more.
pub const PREFERRED: [&str; 36] = [
    "Q4_K_M", "Q4_K_L", "Q4_K_XL", "Q4_K_S", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS", "MXFP4", "Q5_K_M",
    "Q5_K_L", "Q5_K_XL", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q6_K_L", "Q6_K_XL", "Q8_0", "Q8_K_XL",
    "BF16", "F16", "Q3_K_XL", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS",
    "Q2_K_XL", "Q2_K_L", "Q2_K", "IQ2_M", "IQ2_S", "F32",
];

/// llama.cpp's bound for the parts of one model.
const MOST_PARTS: usize = 1024;

/// A model in one GGUF file or several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GgufModel {
    /// Paths of all files that it has when it is whole, in order; the first is the one to load.
    pub(super) parts: Vec<String>,
}

impl GgufModel {
    /// The model that the file at `path` is, or is a part of.
    pub(super) fn of(path: &str) -> Self {
        let parts = match split(path) {
            None => vec![path.to_owned()],
            Some((stem, count)) => (1..=count)
                .map(|part| format!("{stem}-{part:05}-of-{count:05}{}", &path[path.len() - 5..]))
                .collect(),
        };
        Self { parts }
    }

    /// The file that is loaded.
    pub(super) fn first(&self) -> &str {
        &self.parts[0]
    }

    /// Its path without what all GGUF files have at the end.
    fn stem(&self) -> &str {
        let first = self.first();
        split(first).map_or(&first[..first.len() - ".gguf".len()], |(stem, _)| stem)
    }

    /// Whether its path says that it is of this quantisation, in any case.
    pub(super) fn has_quant(&self, quant: &str) -> bool {
        let (stem, quant) = (self.stem().to_ascii_uppercase(), quant.to_ascii_uppercase());
        let is_free = |c: Option<char>, also: &str| {
            c.is_none_or(|c| !c.is_ascii_alphanumeric() && !also.contains(c))
        };
        stem.match_indices(&quant).any(|(at, found)| {
            let (before, behind) = (&stem[..at], &stem[at + found.len()..]);
            // `Q4_K` is not that of `Q4_K_M`, but `model_Q4_K_M` is `Q4_K_M`.
            is_free(before.chars().next_back(), "") && is_free(behind.chars().next(), "_")
        })
    }

    /// Whether it is no model by itself: the vision part of one, or what a quantisation was made with.
    fn is_companion(&self) -> bool {
        let name = self.file_name();
        name.contains("mmproj") || name.contains("imatrix")
    }

    /// Whether it is made to draft for another one.
    fn is_draft(&self) -> bool {
        let name = self.file_name();
        name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "draft")
    }

    fn file_name(&self) -> String {
        let stem = self.stem();
        stem.rsplit('/').next().unwrap_or(stem).to_ascii_lowercase()
    }
}

/// The stem and the number of parts, where `path` follows llama.cpp's `<stem>-00001-of-00003.gguf`.
fn split(path: &str) -> Option<(&str, usize)> {
    let stem = is_gguf(path).then(|| &path[..path.len() - ".gguf".len()])?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        let is_number = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<usize>().ok()).flatten()
    };
    let (part, count) = (number(part)?, number(count)?);
    let is_sound = (1..=count).contains(&part) && count <= MOST_PARTS;
    (is_sound && !stem.is_empty() && !stem.ends_with('/')).then_some((stem, count))
}

/// All files of the GGUF model at `path`, which may be the first of several.
pub fn parts(path: &str) -> Vec<String> {
    GgufModel::of(path).parts
}

/// The models that `paths` are files of, whole or not, in the order of their paths; without the
/// files that are no models by themselves.
pub(super) fn models<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<GgufModel> {
    let models = paths.filter(|path| is_gguf(path)).map(GgufModel::of);
    let models: BTreeSet<GgufModel> = models.filter(|model| !model.is_companion()).collect();
    models.into_iter().collect()
}

/// The model to take of `models`: of the quantisation that is asked for, else by [`PREFERRED`]. Of
/// several the one with the shortest path, then the first. Models made to draft are last.
pub(super) fn pick<'a>(models: &[&'a GgufModel], quant: Option<&str>) -> Option<&'a GgufModel> {
    let asked = models.iter().filter(|model| quant.is_none_or(|quant| model.has_quant(quant)));
    let place = |model: &GgufModel| {
        PREFERRED.iter().position(|quant| model.has_quant(quant)).unwrap_or(PREFERRED.len())
    };
    asked
        .copied()
        .min_by_key(|model| (model.is_draft(), place(model), model.first().len(), model.first()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(paths: &[&str], quant: Option<&str>) -> Option<String> {
        let models = models(paths.iter().copied());
        pick(&models.iter().collect::<Vec<_>>(), quant).map(|model| model.first().to_owned())
    }

    #[test]
    fn quantisations_are_read_from_names() {
        for (path, quant, is_it) in [
            ("gemma-3-4b-it-Q4_K_M.gguf", "q4_k_m", true),
            ("gemma-3-4b-it-Q4_K_M.gguf", "Q4_K", false),
            ("llama-2-7b.Q4_K_M.gguf", "Q4_K_M", true),
            ("model_q8_0.gguf", "Q8_0", true),
            ("model-BF16.gguf", "F16", false),
            ("model-UD-Q4_K_XL.gguf", "Q4_K_XL", true),
            ("model-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", true),
            ("model-IQ4_NL.gguf", "Q4_NL", false),
            ("Q8_0/model-00001-of-00002.gguf", "Q8_0", true),
            ("model-Q8_0-00001-of-00002.gguf", "Q8_0", true),
            ("f16.gguf", "F16", true),
        ] {
            assert_eq!(GgufModel::of(path).has_quant(quant), is_it, "{path} {quant}");
        }
    }

    #[test]
    fn parts_are_one_model() {
        let paths = ["a-00002-of-00003.gguf", "b.gguf", "a-00001-of-00003.gguf"];
        let found = models(paths.into_iter());
        assert_eq!(found.len(), 2);
        let parts = ["a-00001-of-00003.gguf", "a-00002-of-00003.gguf", "a-00003-of-00003.gguf"];
        assert_eq!(found[0].parts, parts);
        for single in [
            "a-00004-of-00003.gguf",
            "a-00000-of-00003.gguf",
            "a-1-of-3.gguf",
            "-00001-of-00003.gguf",
            "d/-00001-of-00003.gguf",
            "a-00001-of-99999.gguf",
            "a-00001-of-00000.gguf",
        ] {
            assert_eq!(GgufModel::of(single).parts, [single]);
        }
    }

    #[test]
    fn one_is_picked_by_the_stated_rule() {
        let all = [
            "README.md",
            "m-Q8_0.gguf",
            "m-Q4_K_M.gguf",
            "mmproj-m-Q4_K_M.gguf",
            "m-Q4_K_M-draft.gguf",
            "m.imatrix.gguf",
            "sub/m-Q4_K_M.gguf",
        ];
        assert_eq!(picked(&all, None).as_deref(), Some("m-Q4_K_M.gguf"));
        assert_eq!(picked(&all, Some("q8_0")).as_deref(), Some("m-Q8_0.gguf"));
        assert_eq!(picked(&all, Some("Q2_K")), None);
        assert_eq!(picked(&all[1..2], None).as_deref(), Some("m-Q8_0.gguf"));
        assert_eq!(picked(&["x.gguf", "w-Q2_K.gguf"], None).as_deref(), Some("w-Q2_K.gguf"));
        assert_eq!(picked(&["mmproj-m.gguf", "m.imatrix.gguf"], None), None);
        assert_eq!(picked(&["m-draft.gguf"], None).as_deref(), Some("m-draft.gguf"));
        let split = ["Q4_K_M/m-00002-of-00002.gguf", "F16/m.gguf"];
        assert_eq!(picked(&split, None).as_deref(), Some("Q4_K_M/m-00001-of-00002.gguf"));
    }
}
