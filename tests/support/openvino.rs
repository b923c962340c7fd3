//! What the tests over OpenVINO share: the real library, folders, and small models written here.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fluid::backend::openvino::find::{libraries, Platform};
use fluid::backend::openvino::native::{Compiled, Core, Model};
use fluid::backend::openvino::runtime::{self, Runtime};

/// The real library: the one in `FLUID_OPENVINO_LIB`, or the wheel in `.venv`.
pub fn library() -> PathBuf {
    let given = std::env::var_os("FLUID_OPENVINO_LIB").map(PathBuf::from);
    let folders = given.map(|path| vec![path]).unwrap_or_else(|| {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/lib");
        let pythons = fs::read_dir(lib).into_iter().flatten().filter_map(Result::ok);
        pythons.map(|it| it.path().join("site-packages/openvino/libs")).collect()
    });
    let mut found = folders.iter().filter_map(|it| libraries(Platform::HERE, it).ok()).flatten();
    found.next().expect("OpenVINO is neither in FLUID_OPENVINO_LIB nor in .venv: run `make setup`")
}

/// The library, open in this process.
pub fn open() -> &'static Runtime {
    runtime::open(Some(text(&library()))).unwrap_or_else(|error| panic!("{error}"))
}

/// The tests that compute run one after the other: threads and times are theirs alone.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has not spoilt anything for the next one.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("fluid-openvino-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// An IR that multiplies `x` of `[?, SIDE]` by `factor`, `times` times, into `y`. Each
/// matrix product is a node of its own, so that a run can be made as long as a test needs.
pub const SIDE: usize = 256;

pub fn write_products(folder: &Folder, times: usize, factor: f32) -> PathBuf {
    let weight = |at: usize| if at % (SIDE + 1) == 0 { factor } else { 0.0 };
    let weights: Vec<u8> = (0..SIDE * SIDE).flat_map(|at| weight(at).to_le_bytes()).collect();
    fs::write(folder.path().join("products.bin"), &weights).expect("weights");
    let dims =
        |sizes: &[i64]| sizes.iter().map(|it| format!("<dim>{it}</dim>")).collect::<String>();
    let (rows, square) = (dims(&[-1, SIDE as i64]), dims(&[SIDE as i64, SIDE as i64]));
    let mut layers = format!(
        r#"<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,{SIDE}" element_type="f32"/><output><port id="0" precision="FP32" names="x,input">{rows}</port></output></layer>
<layer id="1" name="w" type="Const" version="opset1"><data element_type="f32" shape="{SIDE}, {SIDE}" offset="0" size="{}"/><output><port id="0" precision="FP32">{square}</port></output></layer>
"#,
        weights.len()
    );
    let mut edges = String::new();
    for at in 0..times {
        let (id, last) = (at + 2, at + 1 == times);
        let (from, port) = if at == 0 { (0, 0) } else { (id - 1, 2) };
        let names = if last { r#" names="y""# } else { "" };
        layers += &format!(
            r#"<layer id="{id}" name="m{at}" type="MatMul" version="opset1"><data transpose_a="false" transpose_b="false"/><input><port id="0" precision="FP32">{rows}</port><port id="1" precision="FP32">{square}</port></input><output><port id="2" precision="FP32"{names}>{rows}</port></output></layer>
"#
        );
        edges += &format!(
            r#"<edge from-layer="{from}" from-port="{port}" to-layer="{id}" to-port="0"/><edge from-layer="1" from-port="0" to-layer="{id}" to-port="1"/>
"#
        );
    }
    let (end, last) = (times + 2, times + 1);
    layers += &format!(
        r#"<layer id="{end}" name="r" type="Result" version="opset1"><input><port id="0" precision="FP32">{rows}</port></input></layer>
"#
    );
    edges += &format!(r#"<edge from-layer="{last}" from-port="2" to-layer="{end}" to-port="0"/>"#);
    let xml = format!(
        "<?xml version=\"1.0\"?>\n<net name=\"products\" version=\"11\"><layers>\n{layers}</layers><edges>\n{edges}</edges></net>\n"
    );
    let path = folder.path().join("products.xml");
    fs::write(&path, xml).expect("a model");
    path
}

/// What [`products`] multiplies by: powers of two stay within f32.
pub fn factor(times: usize) -> f32 {
    if times < 100 {
        2.0
    } else {
        1.0
    }
}

/// Doublings, or in a run of a hundred and more products by one; read and compiled for the CPU.
pub fn products(name: &str, times: usize) -> (Folder, Model, Compiled) {
    let folder = Folder::new(name);
    let path = write_products(&folder, times, factor(times));
    let core = Core::new(open()).expect("a core");
    let model = core.read_model(&path, None).unwrap_or_else(|error| panic!("{error}"));
    let properties = [("INFERENCE_NUM_THREADS", "1"), ("INFERENCE_PRECISION_HINT", "f32")];
    let compiled =
        core.compile(&model, "CPU", &properties).unwrap_or_else(|error| panic!("{error}"));
    (folder, model, compiled)
}
