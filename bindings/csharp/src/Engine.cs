// Owns models and jobs.

using System;
using System.Threading;
using System.Threading.Tasks;
using Fluid.Native.Interop;

namespace Fluid.Native
{
    /// <summary>Owns models and jobs. Several can live side by side; each has its own models and threads.</summary>
    /// <remarks>Any thread may call anything. Disposing it cancels its jobs, frees its models and joins its threads, also
    /// while other threads use them: their calls end with a <see cref="FluidCanceledException"/>.</remarks>
    public sealed partial class Engine : IDisposable
    {
        private readonly EngineHandle handle;

        /// <summary>Makes an engine.</summary>
        /// <param name="options"><c>model_dir</c>, <c>max_memory</c>, <c>idle_timeout</c> and others of
        /// <c>fluid_engine_new</c>; an unknown one is refused.</param>
        /// <exception cref="FluidBackendMissingException">libfluid was not found.</exception>
        /// <exception cref="FluidInvalidRequestException">An option is unknown or has a wrong value.</exception>
        public unsafe Engine(Options options = null)
        {
            Loader.EnsureOpen();
            fixed (byte* json = Utf8.Bytes(options?.ToString()))
            {
                Call.Check(NativeMethods.fluid_engine_new((IntPtr)json, out var made));
                handle = new EngineHandle(made);
            }
        }

        /// <summary>Loads a model and waits until it can be used.</summary>
        /// <param name="name">A path, a model of the engine's <c>model_dir</c>, or a repository of a hub such as
        /// "owner/repo:Q4_K_M", which is fetched if it is not here.</param>
        /// <param name="options"><c>n_ctx</c>, <c>device</c> and others of <c>fluid_load_model</c>; an unknown one is
        /// refused.</param>
        /// <param name="onEvent">Gets progress and notices; false cancels the load.</param>
        /// <exception cref="FluidNotFoundException">There is no such model.</exception>
        /// <exception cref="FluidInvalidModelException">The file is cut, altered, or of an architecture that this
        /// build cannot run.</exception>
        /// <exception cref="FluidBackendMissingException">The model needs OpenVINO, and it was not found.</exception>
        /// <exception cref="FluidOutOfMemoryException">It has no room.</exception>
        /// <exception cref="FluidCanceledException">The load was cancelled.</exception>
        public Model LoadModel(string name, Options options = null, Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartLoad(name, options))
            {
                var end = job.Run(onEvent);
                Job.ThrowUnlessDone(end); // there is no part of a model
                return job.TakeModel();
            }
        }

        /// <summary>Loads a model: see <see cref="LoadModel"/>.</summary>
        /// <param name="name">The model's.</param>
        /// <param name="options">Those of <c>fluid_load_model</c>.</param>
        /// <param name="progress">From 0 to 1.</param>
        /// <param name="cancellationToken">Cancels the load.</param>
        public async Task<Model> LoadModelAsync(
            string name, Options options = null, IProgress<double> progress = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartLoad(name, options))
            {
                await job.RunAsync(ProgressOnly.Of(progress), cancellationToken).ConfigureAwait(false);
                return job.TakeModel();
            }
        }

        /// <summary>Starts to load a model; <see cref="Job.TakeModel"/> hands it out.</summary>
        public Job StartLoad(string name, Options options = null)
        {
            return Start(NativeMethods.fluid_load_model_start, name, options);
        }

        /// <summary>Fetches a model from the hub into the engine's <c>model_dir</c>, and waits for the end. What is here
        /// whole is not fetched again; what a download that ended early has got stays.</summary>
        /// <param name="name">A repository such as "owner/repo:Q4_K_M", a file of one, or a short name.</param>
        /// <param name="options"><c>revision</c>, <c>file</c> and others of <c>fluid_download</c>.</param>
        /// <param name="onEvent">Gets progress, whose <see cref="FluidEvent.Json"/> tells files, bytes and rate; false
        /// cancels.</param>
        /// <returns><c>path</c>, which loads it, and more: see fluid.h.</returns>
        /// <exception cref="FluidNotFoundException">There is no such repository or file, or <c>offline</c> is
        /// set.</exception>
        /// <exception cref="FluidAccessDeniedException">The hub wants a token, or refuses it.</exception>
        /// <exception cref="FluidNetworkException">The hub cannot be reached.</exception>
        /// <exception cref="FluidIOException">The disk is full, or cannot be written.</exception>
        /// <exception cref="FluidCanceledException">The download was cancelled.</exception>
        public Json Download(string name, Options options = null, Func<FluidEvent, bool> onEvent = null)
        {
            using (var job = StartDownload(name, options))
            {
                var end = job.Run(onEvent);
                Job.ThrowUnlessDone(end);
                return Json.Parse(end.Json);
            }
        }

        /// <summary>Fetches a model from the hub: see <see cref="Download"/>.</summary>
        /// <param name="name">The model's.</param>
        /// <param name="options">Those of <c>fluid_download</c>.</param>
        /// <param name="progress">From 0 to 1.</param>
        /// <param name="cancellationToken">Cancels the download.</param>
        public async Task<Json> DownloadAsync(
            string name, Options options = null, IProgress<double> progress = null,
            CancellationToken cancellationToken = default(CancellationToken))
        {
            using (var job = StartDownload(name, options))
            {
                var end = await job.RunAsync(ProgressOnly.Of(progress), cancellationToken).ConfigureAwait(false);
                return Json.Parse(end.Json);
            }
        }

        /// <summary>Starts to fetch a model.</summary>
        public Job StartDownload(string name, Options options = null)
        {
            return Start(NativeMethods.fluid_download_start, name, options);
        }

        /// <summary>Starts a job that tells what happens to the engine's models unasked, as events of
        /// <see cref="FluidEventKind.Model"/>; it ends when it is cancelled or the engine disposed.</summary>
        public Job StartEvents() => new Job(Call.Make(NativeMethods.fluid_engine_events, handle), this);

        /// <summary>Lists the models of the engine's <c>model_dir</c>: <c>data</c>, each with the <c>name</c> that loads
        /// it.</summary>
        /// <param name="options"><c>type</c>, <c>verify</c>.</param>
        public Json Models(Options options = null) => Ask(NativeMethods.fluid_models, options);

        /// <summary>Tells what a model would take of memory, before it is loaded: <c>total_bytes</c>, <c>fits</c>,
        /// <c>advice</c> and more, see fluid.h.</summary>
        /// <param name="name">The model's.</param>
        /// <param name="options">Those that it would be loaded with.</param>
        /// <exception cref="FluidNotFoundException">There is no such model here.</exception>
        public Json Estimate(string name, Options options = null)
        {
            Utf8.Checked(name, nameof(name));
            return Json.Parse(Utf8.Take(Call.Make(NativeMethods.fluid_estimate, handle, name, options?.ToString())));
        }

        /// <summary>Describes the engine: <c>memory_bytes</c>, <c>models</c> and their state, and more.</summary>
        public Json Info() => Ask(NativeMethods.fluid_engine_info);

        /// <summary>Gives the memory of models back that have no jobs; they are loaded again when they are used.</summary>
        /// <returns><c>unloaded</c> and <c>bytes</c>.</returns>
        public Json Trim() => Ask(NativeMethods.fluid_engine_trim);

        /// <summary>As <see cref="FluidLibrary.Devices"/>, with the engine's OpenVINO.</summary>
        public Json Devices() => Ask(NativeMethods.fluid_devices);

        /// <summary>As <see cref="FluidLibrary.Doctor"/>, with the engine's options.</summary>
        public Json Doctor(Options options = null) => Ask(NativeMethods.fluid_doctor, options);

        /// <summary>Cancels its jobs, frees its models, joins its threads. A second time does nothing.</summary>
        public void Dispose() => handle.Dispose();

        private Job Start(AskWithTwoTextsShape function, string name, Options options)
        {
            Utf8.Checked(name, nameof(name));
            return new Job(Call.Make(function, handle, name, options?.ToString()), this);
        }

        private Json Ask(AskShape function) => Json.Parse(Utf8.Take(Call.Make(function, handle)));

        private Json Ask(AskWithTextShape function, Options options)
        {
            return Json.Parse(Utf8.Take(Call.Make(function, handle, options?.ToString())));
        }
    }

    /// How far a job is, out of its events.
    internal sealed class ProgressOnly : IProgress<FluidEvent>
    {
        private readonly IProgress<double> progress;

        private ProgressOnly(IProgress<double> progress)
        {
            this.progress = progress;
        }

        internal static ProgressOnly Of(IProgress<double> progress) =>
            progress == null ? null : new ProgressOnly(progress);

        public void Report(FluidEvent said)
        {
            if (said.Kind == FluidEventKind.Progress) progress.Report(said.Progress);
        }
    }
}
