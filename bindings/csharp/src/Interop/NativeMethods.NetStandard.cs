// The functions of fluid.h for netstandard2.0: delegates over the library that the loader opened. A DllImport
// would be bound by name, to whatever library of that name the system finds first; where the library's SONAME is
// libfluid.so.1, not to the one that was opened.

#if !NET8_0_OR_GREATER
namespace Fluid.Native.Interop
{
    internal static class NativeMethods
    {
        internal static readonly NumberShape fluid_abi_version =
            Loader.Function<NumberShape>(nameof(fluid_abi_version));
        internal static readonly StaticTextShape fluid_version =
            Loader.Function<StaticTextShape>(nameof(fluid_version));
        internal static readonly StatusNameShape fluid_status_name =
            Loader.Function<StatusNameShape>(nameof(fluid_status_name));
        internal static readonly StaticTextShape fluid_last_error =
            Loader.Function<StaticTextShape>(nameof(fluid_last_error));
        internal static readonly StringFreeShape fluid_string_free =
            Loader.Function<StringFreeShape>(nameof(fluid_string_free));

        internal static readonly MakeWithTextShape fluid_engine_new =
            Loader.Function<MakeWithTextShape>(nameof(fluid_engine_new));
        internal static readonly AskShape fluid_engine_info = Loader.Function<AskShape>(nameof(fluid_engine_info));
        internal static readonly AskShape fluid_engine_events = Loader.Function<AskShape>(nameof(fluid_engine_events));
        internal static readonly AskShape fluid_engine_trim = Loader.Function<AskShape>(nameof(fluid_engine_trim));
        internal static readonly HandleShape fluid_engine_free =
            Loader.Function<HandleShape>(nameof(fluid_engine_free));
        internal static readonly AskShape fluid_devices = Loader.Function<AskShape>(nameof(fluid_devices));
        internal static readonly AskWithTextShape fluid_doctor =
            Loader.Function<AskWithTextShape>(nameof(fluid_doctor));
        internal static readonly AskWithTextShape fluid_models =
            Loader.Function<AskWithTextShape>(nameof(fluid_models));
        internal static readonly AskWithTwoTextsShape fluid_estimate =
            Loader.Function<AskWithTwoTextsShape>(nameof(fluid_estimate));
        internal static readonly AskWithTwoTextsShape fluid_download_start =
            Loader.Function<AskWithTwoTextsShape>(nameof(fluid_download_start));
        internal static readonly AskWithTwoTextsShape fluid_load_model_start =
            Loader.Function<AskWithTwoTextsShape>(nameof(fluid_load_model_start));

        internal static readonly AskShape fluid_model_info = Loader.Function<AskShape>(nameof(fluid_model_info));
        internal static readonly HandleShape fluid_model_free = Loader.Function<HandleShape>(nameof(fluid_model_free));
        internal static readonly AskWithTextShape fluid_generate_start =
            Loader.Function<AskWithTextShape>(nameof(fluid_generate_start));
        internal static readonly TranscribeShape fluid_transcribe_start =
            Loader.Function<TranscribeShape>(nameof(fluid_transcribe_start));
        internal static readonly AskWithTextShape fluid_embed_start =
            Loader.Function<AskWithTextShape>(nameof(fluid_embed_start));
        internal static readonly AskWithTextShape fluid_rerank_start =
            Loader.Function<AskWithTextShape>(nameof(fluid_rerank_start));
        internal static readonly AskWithTextShape fluid_tokenize =
            Loader.Function<AskWithTextShape>(nameof(fluid_tokenize));
        internal static readonly AskWithTextShape fluid_detokenize =
            Loader.Function<AskWithTextShape>(nameof(fluid_detokenize));
        internal static readonly AskWithTwoTextsShape fluid_model_save_state_start =
            Loader.Function<AskWithTwoTextsShape>(nameof(fluid_model_save_state_start));
        internal static readonly AskWithTextShape fluid_model_restore_state_start =
            Loader.Function<AskWithTextShape>(nameof(fluid_model_restore_state_start));

        internal static readonly JobNextShape fluid_job_next = Loader.Function<JobNextShape>(nameof(fluid_job_next));
        internal static readonly HandleShape fluid_job_cancel = Loader.Function<HandleShape>(nameof(fluid_job_cancel));
        internal static readonly AskShape fluid_job_json = Loader.Function<AskShape>(nameof(fluid_job_json));
        internal static readonly JobFloatsShape fluid_job_floats =
            Loader.Function<JobFloatsShape>(nameof(fluid_job_floats));
        internal static readonly AskShape fluid_job_take_model =
            Loader.Function<AskShape>(nameof(fluid_job_take_model));
        internal static readonly JobAttachShape fluid_job_attach =
            Loader.Function<JobAttachShape>(nameof(fluid_job_attach));
        internal static readonly HandleShape fluid_job_free = Loader.Function<HandleShape>(nameof(fluid_job_free));

        internal static readonly MakeShape fluid_queue_new = Loader.Function<MakeShape>(nameof(fluid_queue_new));
        internal static readonly QueueNextShape fluid_queue_next =
            Loader.Function<QueueNextShape>(nameof(fluid_queue_next));
        internal static readonly HandleShape fluid_queue_free = Loader.Function<HandleShape>(nameof(fluid_queue_free));

        internal static readonly LogSetShape fluid_log_set = Loader.Function<LogSetShape>(nameof(fluid_log_set));

        // With a static constructor nothing above is bound before its first use, so not before the loader opened it.
        static NativeMethods() { }
    }
}
#endif
