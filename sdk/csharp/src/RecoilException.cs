#nullable enable
using System;

namespace Recoil
{
    /// <summary>What has happened, and whether a retry can help.</summary>
    public enum ErrorKind
    {
        /// <summary>A key, a value or all writes of a transaction are above the limit that the reason names. A retry does not help.</summary>
        TooLarge,
        /// <summary>A write in a call that may only read: route it with <see cref="Mode.Write"/>.</summary>
        ReadOnly,
        /// <summary>The app is over its storage quota. A retry helps once data has been removed.</summary>
        QuotaExceeded,
        /// <summary>
        /// No leader or quorum before the deadline. Nothing was written, except that a listener's write to storage may have been.
        /// </summary>
        Unavailable,
        /// <summary>The handler refused. Nothing was written; a retry helps only if the handler says so.</summary>
        Rejected,
        /// <summary>The handler or the connection failed, or the handler ran out of time or memory. Nothing was written.</summary>
        Failed,
        /// <summary>The leader was lost after the request was sent. A retry may apply the request twice.</summary>
        UnknownOutcome,
        /// <summary>A transaction lost to a conflicting one. Nothing was written: retry.</summary>
        Conflict,
        /// <summary>The client closed the connection.</summary>
        Closed,
        /// <summary>The client sent or took nothing for the app's idle limit.</summary>
        TimedOut,
    }

    /// <summary>
    /// What the host, a partition or a client's connection refused, or what a handler refuses. <see cref="Kind"/> says what has happened,
    /// <see cref="Reason"/> why, in the words of whoever refused.
    /// </summary>
    public class RecoilException : Exception
    {
        /// <summary>A refusal: what a handler throws to refuse a request, with the reason its caller is told.</summary>
        public RecoilException(string reason) : this(ErrorKind.Rejected, reason) { }

        /// <summary>A failure of some kind. The reason is empty if there is nothing to add to the kind.</summary>
        public RecoilException(ErrorKind kind, string reason, Exception? cause = null) : base(Describe(kind, reason), cause)
        {
            Kind = kind;
            Reason = reason;
        }

        /// <summary>What has happened.</summary>
        public ErrorKind Kind { get; }

        /// <summary>Why, in the words of whoever refused; empty if the kind says it all.</summary>
        public string Reason { get; }

        private static string Describe(ErrorKind kind, string reason)
        {
            switch (kind)
            {
                case ErrorKind.Rejected:
                    return reason;
                case ErrorKind.Failed:
                case ErrorKind.UnknownOutcome:
                case ErrorKind.Unavailable:
                    return reason.Length == 0 ? Words(kind) : Words(kind) + ": " + reason;
                default:
                    return reason.Length == 0 ? Words(kind) : reason;
            }
        }

        private static string Words(ErrorKind kind) => kind switch
        {
            ErrorKind.TooLarge => "too large",
            ErrorKind.ReadOnly => "a write in a read-only call: route it with Mode.Write",
            ErrorKind.QuotaExceeded => "over the storage quota",
            ErrorKind.Unavailable => "the partition is unavailable",
            ErrorKind.Failed => "failed",
            ErrorKind.UnknownOutcome => "the outcome is unknown",
            ErrorKind.Conflict => "the transaction lost to a conflicting one: retry it",
            ErrorKind.Closed => "the connection is closed",
            ErrorKind.TimedOut => "the client was idle for too long",
            _ => "rejected",
        };
    }
}
