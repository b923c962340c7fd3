// The functions of fluid.h for net8.0, imported by generated code. `Loader` says which library "fluid" is.

#if NET8_0_OR_GREATER
using System;
using System.Runtime.InteropServices;

namespace Fluid.Native.Interop
{
    internal static unsafe partial class NativeMethods
    {
        [LibraryImport(Loader.Name)] internal static partial uint fluid_abi_version();
        [LibraryImport(Loader.Name)] internal static partial IntPtr fluid_version();
        [LibraryImport(Loader.Name)] internal static partial IntPtr fluid_status_name(int status);
        [LibraryImport(Loader.Name)] internal static partial IntPtr fluid_last_error();
        [LibraryImport(Loader.Name)] internal static partial void fluid_string_free(IntPtr text);

        [LibraryImport(Loader.Name)] internal static partial int fluid_engine_new(IntPtr json, out IntPtr engine);
        [LibraryImport(Loader.Name)] internal static partial int fluid_engine_info(IntPtr engine, out IntPtr json);
        [LibraryImport(Loader.Name)] internal static partial int fluid_engine_events(IntPtr engine, out IntPtr job);
        [LibraryImport(Loader.Name)] internal static partial int fluid_engine_trim(IntPtr engine, out IntPtr json);
        [LibraryImport(Loader.Name)] internal static partial int fluid_engine_free(IntPtr engine);
        [LibraryImport(Loader.Name)] internal static partial int fluid_devices(IntPtr engine, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_doctor(IntPtr engine, IntPtr options, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_models(IntPtr engine, IntPtr options, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_estimate(IntPtr engine, IntPtr name, IntPtr options, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_download_start(IntPtr engine, IntPtr name, IntPtr options, out IntPtr job);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_load_model_start(IntPtr engine, IntPtr name, IntPtr options, out IntPtr job);

        [LibraryImport(Loader.Name)] internal static partial int fluid_model_info(IntPtr model, out IntPtr json);
        [LibraryImport(Loader.Name)] internal static partial int fluid_model_free(IntPtr model);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_generate_start(IntPtr model, IntPtr request, out IntPtr job);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_transcribe_start(IntPtr model, NativeAudio* audio, IntPtr request, out IntPtr job);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_embed_start(IntPtr model, IntPtr request, out IntPtr job);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_rerank_start(IntPtr model, IntPtr request, out IntPtr job);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_tokenize(IntPtr model, IntPtr request, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_detokenize(IntPtr model, IntPtr request, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_model_save_state_start(IntPtr model, IntPtr request, IntPtr path, out IntPtr job);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_model_restore_state_start(IntPtr model, IntPtr path, out IntPtr job);

        [LibraryImport(Loader.Name)]
        internal static partial int fluid_job_next(IntPtr job, int timeoutMs, out IntPtr nativeEvent);
        [LibraryImport(Loader.Name)] internal static partial int fluid_job_cancel(IntPtr job);
        [LibraryImport(Loader.Name)] internal static partial int fluid_job_json(IntPtr job, out IntPtr json);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_job_floats(IntPtr job, out IntPtr data, out UIntPtr count, out UIntPtr dimensions);
        [LibraryImport(Loader.Name)] internal static partial int fluid_job_take_model(IntPtr job, out IntPtr model);
        [LibraryImport(Loader.Name)] internal static partial int fluid_job_attach(IntPtr job, IntPtr queue);
        [LibraryImport(Loader.Name)] internal static partial int fluid_job_free(IntPtr job);

        [LibraryImport(Loader.Name)] internal static partial int fluid_queue_new(out IntPtr queue);
        [LibraryImport(Loader.Name)]
        internal static partial int fluid_queue_next(IntPtr queue, int timeoutMs, out IntPtr job, out IntPtr nativeEvent);
        [LibraryImport(Loader.Name)] internal static partial int fluid_queue_free(IntPtr queue);

        [LibraryImport(Loader.Name)]
        internal static partial int fluid_log_set(IntPtr callback, IntPtr userData, int level);
    }
}
#endif
