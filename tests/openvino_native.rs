//! Models read, compiled and run through the wrappers over OpenVINO, with the real library.
#![cfg(feature = "openvino")]
#![forbid(unsafe_code)]

#[path = "support/openvino.rs"]
mod openvino;

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluid::backend::device::{first_that_works, Asked, Device, Kind, Offer};
use fluid::backend::openvino::device::devices;
use fluid::backend::openvino::native::{Core, Port, MAX_PROPERTIES};
use fluid::backend::openvino::request::{Request, Wait};
use fluid::backend::openvino::tensor::{ElementType, Tensor};
use fluid::error::ErrorKind;

use self::openvino::{alone, factor, open, products, text, write_products, Folder, SIDE};

/// Products of a run that takes a second and more on this project's machines.
const LONG: usize = 800;
const LONG_ROWS: usize = 1_024;

fn ones(rows: usize) -> Tensor {
    let mut tensor = Tensor::new(ElementType::F32, &[rows, SIDE]).expect("a tensor");
    tensor.slice_mut::<f32>().expect("f32").fill(1.0);
    tensor
}

fn always() -> bool {
    true
}

/// Checks what the request makes of ones.
fn check_runs(request: &mut Request, rows: usize, times: usize) {
    request.set_input("x", ones(rows)).expect("an input");
    assert!(request.run(&always).expect("a run"));
    let output = request.output("y").expect("an output");
    assert_eq!(output.shape(), [rows, SIDE]);
    let values = output.slice::<f32>().expect("f32");
    assert!(
        values.len() == rows * SIDE
            && values.iter().all(|&it| it == factor(times).powi(times as i32))
    );
}

#[test]
fn a_model_tells_its_ports_and_runs_with_any_number_of_rows() {
    let _alone = alone();
    let (_folder, model, compiled) = products("ports", 3);
    let shape = Some(vec![None, Some(SIDE)]);
    let y = Port { name: "y".into(), element: ElementType::F32, shape: shape.clone() };
    for (inputs, outputs) in
        [(model.inputs(), model.outputs()), (compiled.inputs(), compiled.outputs())]
    {
        // One of its two names.
        assert!(inputs.len() == 1 && ["x", "input"].contains(&inputs[0].name.as_str()));
        assert_eq!((inputs[0].element, &inputs[0].shape), (ElementType::F32, &shape));
        assert_eq!(outputs, std::slice::from_ref(&y));
    }
    let mut request = compiled.request().expect("a request");
    for rows in [1, 5, 2] {
        check_runs(&mut request, rows, 3);
    }
    request.set_input("input", ones(2)).expect("its other name");
}

#[test]
fn no_rows_are_empty_slices() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("empty", 1);
    let mut tensor = Tensor::new(ElementType::F32, &[0, SIDE]).expect("an empty tensor");
    assert!(tensor.slice::<f32>().expect("f32").is_empty());
    assert!(tensor.slice_mut::<f32>().expect("f32").is_empty());
    let mut request = compiled.request().expect("a request");
    request.set_input("x", tensor).expect("an input");
    assert!(request.run(&always).expect("a run"));
    let output = request.output("y").expect("an output");
    assert_eq!(output.shape(), [0, SIDE]);
    assert!(output.slice::<f32>().expect("f32").is_empty());
}

#[test]
fn tensors_go_from_one_request_to_another_without_a_copy() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("pass", 2);
    let (mut first, mut second) =
        (compiled.request().expect("a request"), compiled.request().expect("a request"));
    first.set_input("x", ones(3)).expect("an input");
    let room = Tensor::new(ElementType::F32, &[3, SIDE]).expect("a tensor");
    let start = room.slice::<f32>().expect("f32").as_ptr();
    assert!(first.set_output("y", room).expect("an output").is_none());
    assert!(first.run(&always).expect("a run"));
    let next = Tensor::new(ElementType::F32, &[3, SIDE]).expect("a tensor");
    let result = Arc::new(first.set_output("y", next).expect("an output").expect("the one before"));
    assert_eq!(result.slice::<f32>().expect("f32").as_ptr(), start, "the result was moved");
    assert!(result.slice::<f32>().expect("f32").iter().all(|&it| it == 4.0));

    second.set_input("x", result.clone()).expect("an input");
    assert!(second.input_mut("x").is_none(), "written while somebody else reads it");
    // The first one runs again into its new tensor, and does not touch the old one.
    first.input_mut("x").expect("its own").slice_mut::<f32>().expect("f32").fill(5.0);
    assert!(first.run(&always).expect("a run") && second.run(&always).expect("a run"));
    let read = |request: &Request| request.output("y").expect("y").slice::<f32>().expect("f32")[0];
    assert_eq!((read(&first), read(&second)), (20.0, 16.0));
    assert_eq!(result.slice::<f32>().expect("f32")[0], 4.0);
}

#[test]
fn an_output_tensor_of_another_shape_takes_the_result() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("grow", 1);
    let mut request = compiled.request().expect("a request");
    for (room, rows) in [(1, 64), (64, 2)] {
        let tensor = Tensor::new(ElementType::F32, &[room, SIDE]).expect("a tensor");
        request.set_output("y", tensor).expect("an output");
        check_runs(&mut request, rows, 1);
        let next = Tensor::new(ElementType::F32, &[1, SIDE]).expect("a tensor");
        let result = request.set_output("y", next).expect("an output").expect("the one before");
        assert_eq!(result.shape(), [rows, SIDE]);
        assert!(result.slice::<f32>().expect("f32").iter().all(|&it| it == 2.0));
    }
}

#[test]
fn misuse_is_an_error_that_names_the_value() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("misuse", 1);
    let mut request = compiled.request().expect("a request");
    let early = request.output("y").err().expect("nothing ran").to_string();
    assert!(early.contains("\"y\""), "{early}");
    let long = Tensor::of::<i64>(&[1, SIDE], &[1; SIDE]).expect("a tensor");
    let error = request.set_input("x", long).expect_err("the wrong type").to_string();
    assert!(error.contains("\"x\" to I64 [1, 256]"), "{error}");
    let narrow = Tensor::of::<f32>(&[1, 2], &[1.0; 2]).expect("a tensor");
    let error = request.set_input("x", narrow).expect_err("the wrong shape").to_string();
    assert!(error.contains("\"x\" to F32 [1, 2]"), "{error}");
    let error = request.set_input("z", ones(1)).expect_err("no such input").to_string();
    assert!(error.contains("\"z\""), "{error}");
    check_runs(&mut request, 1, 1);
    let output = request.output("y").expect("an output");
    let error = output.slice::<i64>().expect_err("the wrong type").to_string();
    assert_eq!(error, "a tensor of F32 is read as I64");
    assert!(Tensor::of::<f32>(&[2, 2], &[0.0; 3]).is_err());
}

#[test]
fn tensors_beyond_memory_are_refused() {
    let _alone = alone();
    open();
    for shape in [&[usize::MAX][..], &[1 << 40, 1 << 40], &[1 << 60]] {
        let error = Tensor::new(ElementType::F32, shape).err().expect("too large");
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    }
}

#[test]
fn a_cancelled_run_ends_within_100_ms_and_the_request_runs_again() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("cancel", LONG);
    let mut request = compiled.request().expect("a request");
    request.set_input("x", ones(LONG_ROWS)).expect("an input");
    let mut worst = Duration::ZERO;
    for round in 0..20u64 {
        let begin = Instant::now();
        let asked = Cell::new(None);
        let go_on = || {
            let stop = begin.elapsed() >= Duration::from_millis(5 + 7 * round);
            if stop {
                asked.set(asked.get().or(Some(Instant::now())));
            }
            !stop
        };
        assert!(!request.run(&go_on).expect("a run"), "it ended by itself");
        worst = worst.max(asked.get().expect("it was asked").elapsed());
        assert!(request.output("y").is_err(), "a cancelled run has no output");
    }
    assert!(worst < Duration::from_millis(100), "the slowest cancel took {worst:?}");
    assert!(!request.run(&|| false).expect("not even started"));
    check_runs(&mut request, 1, LONG);
}

#[test]
fn a_finished_run_stays_finished_however_often_it_is_asked() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("finished", 2);
    let mut request = compiled.request().expect("a request");
    request.set_input("x", ones(1)).expect("an input");
    assert!(request.wait(Duration::ZERO).is_err(), "nothing was started");
    request.start().expect("a start");
    while request.wait(Duration::from_millis(1)).expect("a wait") == Wait::Pending {}
    assert_eq!(request.wait(Duration::ZERO).expect("a second wait"), Wait::Done);
    assert!(request.finish(&|| false).expect("it has ended before"));
    assert!(request.stop().expect("nothing to stop"));
    assert!(request.output("y").is_ok());
}

#[test]
fn a_running_request_is_left_alone_and_may_be_dropped() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("drop", LONG);
    let mut request = compiled.request().expect("a request");
    request.set_input("x", ones(LONG_ROWS)).expect("an input");
    request.start().expect("a start");
    assert_eq!(request.wait(Duration::ZERO).expect("a wait"), Wait::Pending);
    assert!(request.set_input("x", ones(1)).is_err());
    assert!(request.input_mut("x").is_none() && request.output("y").is_err());
    assert!(request.start().is_err());
    let begin = Instant::now();
    drop(request);
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
}

#[test]
fn requests_of_one_model_run_on_several_threads() {
    let _alone = alone();
    let (_folder, _model, compiled) = products("threads", 4);
    std::thread::scope(|scope| {
        for rows in 1..5 {
            let compiled = &compiled;
            scope.spawn(move || {
                let mut request = compiled.request().expect("a request");
                for _ in 0..20 {
                    check_runs(&mut request, rows, 4);
                }
            });
        }
    });
}

#[test]
fn files_that_are_no_whole_model_are_refused() {
    let _alone = alone();
    let folder = Folder::new("refused");
    let path = write_products(&folder, 2, 2.0);
    let core = Core::new(open()).expect("a core");
    let refused = |what: &str| {
        let error = core.read_model(&path, None).err().unwrap_or_else(|| panic!("{what} is read"));
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        let path = text(&path);
        assert!(error.message().starts_with(path), "{error}");
        assert!(error.message().len() > path.len() + 40, "{what}: no cause in {error}");
    };
    let bin = folder.path().join("products.bin");
    let weights = fs::read(&bin).expect("weights");
    fs::write(&bin, &weights[..weights.len() / 2]).expect("half the weights");
    refused("a cut .bin");
    fs::write(&bin, "").expect("no weights");
    refused("an empty .bin");
    fs::remove_file(&bin).expect("it was there");
    refused("a model without its .bin");
    let xml = fs::read(&path).expect("the XML");
    for cut in [0, 10, xml.len() / 2, xml.len() - 10] {
        fs::write(&path, &xml[..cut]).expect("a part of the XML");
        refused("a cut .xml");
    }
    fs::remove_file(&path).expect("it was there");
    let error = core.read_model(&path, None).err().expect("it is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn properties_reach_the_compile_and_wrong_ones_are_named() {
    let _alone = alone();
    let (folder, model, compiled) = products("properties", 2);
    assert_eq!(compiled.property("INFERENCE_NUM_THREADS").expect("a property"), "1");
    assert_eq!(compiled.property("EXECUTION_DEVICES").expect("a property").trim(), "CPU");
    let error = compiled.property("NO_SUCH").expect_err("no such property").to_string();
    assert!(error.contains("NO_SUCH"), "{error}");
    let core = Core::new(open()).expect("a core");
    let cache = folder.path().join("cache");
    let kept = [("CACHE_DIR", text(&cache)), ("NUM_STREAMS", "1"), ("PERFORMANCE_HINT", "LATENCY")];
    core.compile(&model, "CPU", &kept).expect("a compile");
    let count = fs::read_dir(&cache).expect("the cache").count();
    assert_eq!(count, 1, "files in the cache");
    let again = core.compile(&model, "CPU", &kept).expect("a compile from the cache");
    check_runs(&mut again.request().expect("a request"), 2, 2);

    for wrong in [("NO_SUCH", "1"), ("NUM_STREAMS", "many"), ("CACHE_ENCRYPTION_CALLBACKS", "x")] {
        let error = core.compile(&model, "CPU", &[wrong]).err().expect("refused").to_string();
        assert!(error.contains(wrong.0) || error.contains(wrong.1), "{error}");
    }
    let many = [("NUM_STREAMS", "1"); MAX_PROPERTIES];
    assert!(core.compile(&model, "CPU", &many).is_ok());
    assert!(core.compile(&model, "CPU", &[many[0]; MAX_PROPERTIES + 1]).is_err());
    let error = core.compile(&model, "NPU.7", &[]).err().expect("no such device").to_string();
    assert!(error.contains("NPU.7"), "{error}");
}

#[test]
fn the_processor_is_a_device_with_a_name() {
    let _alone = alone();
    let core = Core::new(open()).expect("a core");
    let found = devices(&core).expect("devices");
    let cpu = found.iter().find(|device| device.id == "CPU").expect("a CPU");
    assert!(cpu.name.len() > 3 && cpu.name != cpu.id && cpu.kind == Kind::Cpu, "{cpu:?}");
    assert!(cpu.capabilities.iter().any(|it| it == "FP32"), "{cpu:?}");
    let (folder, model, _compiled) = products("device", 1);
    let offer = Offer { backend: "OpenVINO", devices: &found, advice: "test it", bytes: 0 };
    let asked = Asked { device: "NPU", fallback: true };
    let mut told = Vec::new();
    let compile = |device: &Device| core.compile(&model, &device.id, &[]);
    let (compiled, choice) =
        first_that_works(asked, &offer, &mut |text| told.push(text), compile).expect("one works");
    check_runs(&mut compiled.request().expect("a request"), 1, 1);
    if !found.iter().any(|device| device.kind == Kind::Npu) {
        assert_eq!((choice.asked.as_str(), choice.used.id.as_str()), ("NPU", "CPU"));
        let why = choice.why.expect("a reason");
        assert!(why.contains("there is no NPU") && told[0].contains(&why), "{why}");
    }
    drop(folder);
}
