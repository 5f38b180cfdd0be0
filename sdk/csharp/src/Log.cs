#nullable enable
using System;
using Recoil.Runtime;

namespace Recoil
{
    /// <summary>How much a line of the log matters.</summary>
    public enum LogLevel
    {
        /// <summary>Every step.</summary>
        Trace,
        /// <summary>For the author of the package.</summary>
        Debug,
        /// <summary>For who runs it.</summary>
        Info,
        /// <summary>Something is not as it should be.</summary>
        Warn,
        /// <summary>Something failed.</summary>
        Error,
    }

    /// <summary>
    /// Lines in the package's log, which the host keeps and fills in: node, partition, call. What is written to <see cref="Console"/> goes
    /// there too. In a test the lines go to standard error.
    /// </summary>
    public static class Log
    {
        /// <summary>Writes one line; above 8 KiB it is cut.</summary>
        public static void Write(LogLevel level, string message) => Host.Log(level, message);

        /// <summary>For the author of the package.</summary>
        public static void Debug(string message) => Write(LogLevel.Debug, message);

        /// <summary>For who runs it.</summary>
        public static void Info(string message) => Write(LogLevel.Info, message);

        /// <summary>Something is not as it should be.</summary>
        public static void Warn(string message) => Write(LogLevel.Warn, message);

        /// <summary>Something failed.</summary>
        public static void Error(string message) => Write(LogLevel.Error, message);

        /// <summary>Something failed, with the exception and its stack.</summary>
        public static void Error(string message, Exception cause) => Error(message + ": " + cause);
    }
}
