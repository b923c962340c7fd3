use super::*;

const MIB: u64 = 1 << 20;

fn device(id: &str) -> Device {
    let kind = match &id[..3] {
        "GPU" => Kind::Gpu,
        "NPU" => Kind::Npu,
        _ => Kind::Cpu,
    };
    let name = format!("the {id}");
    let (integrated, memory, memory_free) = (None, None, None);
    Device { id: id.into(), kind, name, integrated, memory, memory_free, capabilities: vec![] }
}

fn machine(ids: &[&str]) -> Vec<Device> {
    ids.iter().map(|id| device(id)).collect()
}

fn offer(devices: &[Device]) -> Offer<'_> {
    Offer { backend: "OpenVINO", devices, advice: "install its driver", bytes: 500 * MIB }
}

/// Tries all: what `fails` names does.
fn choose(
    asked: &str,
    devices: &[Device],
    fallback: bool,
    fails: &[&str],
) -> (Result<Choice>, Vec<String>) {
    let mut told = Vec::new();
    let try_one = |device: &Device| match fails.contains(&device.id.as_str()) {
        true => Err(Error::new(ErrorKind::Backend, "no room")),
        false => Ok(()),
    };
    let mut notice = |text| told.push(text);
    let asked = Asked { device: asked, fallback };
    let chosen = first_that_works(asked, &offer(devices), &mut notice, try_one);
    (chosen.map(|((), choice)| choice), told)
}

fn used(asked: &str, ids: &[&str], fails: &[&str]) -> String {
    choose(asked, &machine(ids), true, fails).0.expect("one works").used.id
}

#[test]
fn auto_takes_gpus_then_the_cpu_and_never_the_npu() {
    let all = ["CPU", "GPU.0", "GPU.1", "NPU"];
    assert_eq!(used("AUTO", &all, &[]), "GPU.0");
    assert_eq!(used("AUTO", &all, &["GPU.0"]), "GPU.1");
    assert_eq!(used("AUTO", &all, &["GPU.0", "GPU.1"]), "CPU");
    assert_eq!(used("AUTO", &["CPU", "NPU"], &[]), "CPU");
}

#[test]
fn auto_prefers_memory_of_its_own_and_more_of_it() {
    let mut gpus = machine(&["CPU", "GPU.0", "GPU.1", "GPU.2"]);
    let set = |gpu: &mut Device, integrated, mib| {
        (gpu.integrated, gpu.memory) = (Some(integrated), Some(mib * MIB));
    };
    set(&mut gpus[1], true, 16_384);
    set(&mut gpus[2], false, 4_096);
    set(&mut gpus[3], false, 8_192);
    let first = |gpus: &[Device], fails: &[&str]| choose("AUTO", gpus, true, fails);
    assert_eq!(first(&gpus, &[]).0.expect("works").used.id, "GPU.2");
    assert_eq!(first(&gpus, &["GPU.2"]).0.expect("works").used.id, "GPU.1");
    assert_eq!(first(&gpus, &["GPU.2", "GPU.1"]).0.expect("works").used.id, "GPU.0");
    // One that has no room for the model is passed over, and told.
    set(&mut gpus[3], false, 499);
    let (choice, told) = first(&gpus, &[]);
    let choice = choice.expect("works");
    assert_eq!(choice.used.id, "GPU.1");
    let why = choice.why.expect("a reason");
    assert_eq!(why, "GPU.2 has 499 MiB of memory, the model takes about 500");
    assert_eq!(told, [format!("asked for AUTO, using GPU.1: {why}")]);
    // By its name it is tried all the same.
    assert_eq!(choose("GPU.2", &gpus, true, &[]).0.expect("works").used.id, "GPU.2");
}

#[test]
fn a_device_that_is_there_needs_no_reason() {
    let gpus = machine(&["CPU", "GPU.0", "GPU.1"]);
    let (choice, told) = choose("GPU", &gpus, true, &[]);
    let choice = choice.expect("one works");
    assert_eq!((choice.used.id.as_str(), choice.why, told.len()), ("GPU.0", None, 0));
    assert_eq!(used("GPU.0", &["CPU", "GPU"], &[]), "GPU");
    assert_eq!(used("CPU", &["CPU", "GPU"], &[]), "CPU");
    // Another GPU than the one asked for does not take its place.
    assert_eq!(used("GPU.1", &["CPU", "GPU.0", "GPU.1"], &["GPU.1"]), "CPU");
}

#[test]
fn a_device_that_is_not_there_is_the_cpu_and_the_reason() {
    let (choice, told) = choose("NPU", &machine(&["CPU"]), true, &[]);
    let choice = choice.expect("the CPU works");
    let why = "there is no NPU: OpenVINO sees CPU; install its driver";
    assert_eq!((choice.used.id.as_str(), choice.why.as_deref()), ("CPU", Some(why)));
    assert_eq!(told, [format!("asked for NPU, using CPU: {why}")]);
    let (refused, told) = choose("NPU", &machine(&["GPU"]), true, &[]);
    let error = refused.expect_err("there is no CPU either");
    assert_eq!((error.kind(), told.len()), (ErrorKind::Unsupported, 0));
    assert!(choose("AUTO", &[], true, &[]).0.expect_err("none").message().contains("no device"));
}

#[test]
fn without_fallback_only_the_first_one_is_tried() {
    let (refused, told) = choose("NPU", &machine(&["CPU"]), false, &[]);
    let error = refused.expect_err("not there");
    assert_eq!((error.kind(), told.len()), (ErrorKind::Unsupported, 0));
    assert!(error.message().starts_with("device: there is no NPU"), "{error}");
    let both = machine(&["CPU", "GPU"]);
    for asked in ["GPU", "AUTO"] {
        let error = choose(asked, &both, false, &["GPU"]).0.expect_err("it fails");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Backend, "no room"));
    }
    assert_eq!(choose("AUTO", &both, false, &[]).0.expect("it works").used.id, "GPU");
}

#[test]
fn a_failure_goes_on_with_the_reason_and_a_broken_model_does_not() {
    let both = machine(&["CPU", "GPU"]);
    let (choice, told) = choose("AUTO", &both, true, &["GPU"]);
    let choice = choice.expect("the CPU works");
    assert_eq!(choice.why.as_deref(), Some("GPU failed: no room"));
    assert_eq!(told, ["asked for AUTO, using CPU: GPU failed: no room"]);
    let mut details = Map::new();
    choice.describe(&mut details);
    assert_eq!(
        Value::Object(details).to_string(),
        r#"{"device":"CPU","device_name":"the CPU","device_asked":"AUTO","fallback":"GPU failed: no room"}"#
    );

    let error = choose("AUTO", &both, true, &["GPU", "CPU"]).0.expect_err("both fail");
    assert_eq!(error.message(), "GPU failed: no room; CPU failed: no room");
    let mut tried = 0;
    let broken = |_: &Device| -> Result<()> {
        tried += 1;
        Err(Error::new(ErrorKind::InvalidModel, "is cut"))
    };
    let asked = Asked { device: "AUTO", fallback: true };
    let error = first_that_works(asked, &offer(&both), &mut |_| (), broken).expect_err("broken");
    assert_eq!((error.message(), tried), ("is cut", 1));
}
