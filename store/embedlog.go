package store

import (
	"fmt"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lastWords is said where etcd cannot go on, for example on a full disk. Its
// own way is to end the program without a word to the person at the terminal.
type lastWords struct {
	dir string
	end func(said string)
}

// OnWrite says why, and ends. It does not return.
func (w lastWords) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	said := fmt.Sprintf("the embedded etcd in %s cannot go on: %s", w.dir, entry.Message)
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok {
			said += ": " + err.Error()
		}
	}
	w.end(said)
}

// etcdLog writes etcd's errors to file. What etcd panics over while it starts
// StartEmbedded makes an error of; over anything else the program ends.
func etcdLog(dir, file string) (*zap.Logger, error) {
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(zapcore.ErrorLevel)
	config.Sampling = nil
	config.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	config.OutputPaths, config.ErrorOutputPaths = []string{file}, []string{file}
	return config.Build(
		zap.WithPanicHook(lastWords{dir, func(said string) { panic(said) }}),
		zap.WithFatalHook(lastWords{dir, func(said string) {
			_, _ = fmt.Fprintln(os.Stderr, "serviceforge: "+said)
			os.Exit(1)
		}}))
}
