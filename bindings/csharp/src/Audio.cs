// A recording to transcribe: a file, the bytes of one, or samples.

using System;
using System.IO;
using System.Runtime.InteropServices;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>A recording: WAV, FLAC, MP3, OGG Vorbis, M4A or AAC, or samples. A string is a file's path, an array of
    /// bytes a file's content. Arrays are not copied before the transcription starts, which copies them.</summary>
    public sealed class Audio
    {
        private enum Sort
        {
            F32 = 1,
            I16 = 2,
            Encoded = 3,
            Path = 4,
        }

        private readonly Sort sort;
        private readonly Array data;
        private readonly long bytes;
        private readonly uint rate;
        private readonly uint channels;

        private Audio(Sort sort, Array data, long bytes, int rate, int channels)
        {
            this.sort = sort;
            this.data = data;
            this.bytes = bytes;
            this.rate = (uint)rate;
            this.channels = (uint)channels;
        }

        /// <summary>A recording in a file, which is read when the job runs.</summary>
        public static Audio FromFile(string path)
        {
            var text = Utf8.Bytes(Utf8.Checked(path, nameof(path)));
            return new Audio(Sort.Path, text, text.Length - 1, 0, 0);
        }

        /// <summary>The content of an audio file.</summary>
        public static Audio FromBytes(byte[] file)
        {
            if (file == null) throw new ArgumentNullException(nameof(file));
            return new Audio(Sort.Encoded, file, file.Length, 0, 0);
        }

        /// <summary>The content of an audio file, which is read from here to the stream's end.</summary>
        public static Audio FromStream(Stream file)
        {
            if (file == null) throw new ArgumentNullException(nameof(file));
            using (var copy = new MemoryStream())
            {
                file.CopyTo(copy);
                return FromBytes(copy.ToArray());
            }
        }

        /// <summary>Samples from -1 to 1, those of several channels in turn.</summary>
        /// <param name="samples">Whole frames of <paramref name="channels"/> samples.</param>
        /// <param name="rate">Frames per second, 2,000 to 768,000.</param>
        /// <param name="channels">1 to 64.</param>
        public static Audio FromSamples(float[] samples, int rate, int channels = 1)
        {
            if (samples == null) throw new ArgumentNullException(nameof(samples));
            return new Audio(Sort.F32, samples, samples.LongLength * sizeof(float), rate, channels);
        }

        /// <summary>16-bit samples, those of several channels in turn.</summary>
        /// <param name="samples">Whole frames of <paramref name="channels"/> samples.</param>
        /// <param name="rate">Frames per second, 2,000 to 768,000.</param>
        /// <param name="channels">1 to 64.</param>
        public static Audio FromSamples(short[] samples, int rate, int channels = 1)
        {
            if (samples == null) throw new ArgumentNullException(nameof(samples));
            return new Audio(Sort.I16, samples, samples.LongLength * sizeof(short), rate, channels);
        }

        /// <summary>A recording in a file.</summary>
        public static implicit operator Audio(string path) => FromFile(path);

        /// <summary>The content of an audio file.</summary>
        public static implicit operator Audio(byte[] file) => FromBytes(file);

        /// The job's handle; the library has copied the audio by then.
        internal unsafe IntPtr Start(FluidHandle model, string options)
        {
            var pin = GCHandle.Alloc(data, GCHandleType.Pinned);
            try
            {
                var audio = new NativeAudio
                {
                    StructSize = (uint)sizeof(NativeAudio),
                    Kind = (int)sort,
                    Data = (void*)pin.AddrOfPinnedObject(),
                    Bytes = (UIntPtr)(ulong)bytes,
                    Rate = rate,
                    Channels = channels,
                };
                fixed (byte* json = Utf8.Bytes(options))
                {
                    var status = NativeMethods.fluid_transcribe_start(model.Value, &audio, (IntPtr)json, out var job);
                    GC.KeepAlive(model);
                    Call.Check(status);
                    return job;
                }
            }
            finally
            {
                pin.Free();
            }
        }
    }
}
