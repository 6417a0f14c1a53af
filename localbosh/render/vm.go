package render

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// rubyWasm is CRuby with its standard library; ruby/fetch.sh made it.
//
//go:embed ruby/ruby.wasm.gz
var rubyWasm []byte

//go:embed prelude.rb
var prelude string

// maxMemory bounds Ruby's linear memory in bytes: a template that asks for more gets NoMemoryError.
const maxMemory = 384 << 20

// maxOutput bounds what one deployment may be rendered to, as it stands on the wire.
const maxOutput = 256 << 20

// vm is one Ruby interpreter. It is used by one goroutine and for one deployment.
type vm struct {
	module  api.Module
	exports map[string]string // function name without its signature → export
	stdin   io.Reader
	stdout  bytes.Buffer
	stderr  bytes.Buffer
}

// compiledRuby holds what compiling gave; a compilation fills the cache folder as well.
type compiledRuby struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

// compileRuby compiles Ruby or takes the compiled code from cacheDir; without a usable cacheDir it compiles anew.
func compileRuby(ctx context.Context, cacheDir string) (*compiledRuby, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(rubyWasm))
	if err != nil {
		return nil, err
	}
	wasm, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	ctx = experimental.WithCompilationWorkers(ctx, runtime.NumCPU())
	config := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(maxMemory / 65536)
	if cacheDir != "" {
		if compiled, err := compileCached(ctx, config, cacheDir, wasm); err == nil {
			return compiled, nil
		}
		// Damaged entries: make new ones. A full disk: the cache is only there for speed.
		emptyCache(cacheDir)
		if compiled, err := compileCached(ctx, config, cacheDir, wasm); err == nil {
			return compiled, nil
		}
	}
	return compileWith(ctx, config, wasm)
}

func compileCached(ctx context.Context, config wazero.RuntimeConfig, cacheDir string, wasm []byte) (*compiledRuby, error) {
	cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
	if err != nil {
		return nil, err
	}
	return compileWith(ctx, config.WithCompilationCache(cache), wasm)
}

// emptyCache removes what wazero keeps, for all its versions.
func emptyCache(cacheDir string) {
	folders, _ := filepath.Glob(filepath.Join(cacheDir, "wazero-*"))
	for _, folder := range folders {
		_ = os.RemoveAll(folder)
	}
}

func compileWith(ctx context.Context, config wazero.RuntimeConfig, wasm []byte) (*compiledRuby, error) {
	r := wazero.NewRuntimeWithConfig(ctx, config)
	module, err := r.CompileModule(ctx, wasm)
	if err != nil {
		_ = r.Close(ctx)
		return nil, err
	}
	return &compiledRuby{runtime: r, module: module}, nil
}

// boot starts an interpreter and evaluates the prelude.
func (c *compiledRuby) boot(ctx context.Context) (*vm, error) {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, c.runtime); err != nil {
		return nil, err
	}
	if err := c.provideJavaScript(ctx); err != nil {
		return nil, err
	}
	v := &vm{exports: map[string]string{}, stdin: strings.NewReader("")}
	for name := range c.module.ExportedFunctions() {
		short, _, _ := strings.Cut(name, ":")
		v.exports[short] = name
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").
		WithStdin(readerFunc(func(p []byte) (int, error) { return v.stdin.Read(p) })).
		WithStdout(&limited{&v.stdout, maxOutput}).WithStderr(&limited{&v.stderr, 64 << 10}).
		WithRandSource(rand.Reader).WithSysWalltime().WithSysNanotime().WithSysNanosleep()
	module, err := c.runtime.InstantiateModule(withMappedMemory(ctx), c.module, config)
	if err != nil {
		return nil, err
	}
	v.module = module
	if err := v.init(ctx, "ruby", "--disable=gems", "-EUTF-8", "-e_=0"); err != nil {
		return nil, err
	}
	return v, v.eval(ctx, prelude)
}

// provideJavaScript satisfies the imports by which ruby.wasm would talk to a browser. Handles of Ruby values go
// through a table, as the component model's canonical ABI asks; everything else ends the interpreter.
func (c *compiledRuby) provideJavaScript(ctx context.Context) error {
	handles := map[uint64]uint64{}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, imported := range c.module.ImportedFunctions() {
		module, name, _ := imported.Import()
		if module == wasi_snapshot_preview1.ModuleName {
			continue
		}
		if builders[module] == nil {
			builders[module] = c.runtime.NewHostModuleBuilder(module)
		}
		call := func(context.Context, api.Module, []uint64) { panic("a template has no JavaScript: " + name) }
		switch {
		case strings.HasPrefix(name, "resource_new"):
			call = func(_ context.Context, _ api.Module, stack []uint64) {
				handle := uint64(len(handles) + 1)
				handles[handle] = stack[0]
				stack[0] = handle
			}
		case strings.HasPrefix(name, "resource_get"):
			call = func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = handles[stack[0]] }
		case strings.HasPrefix(name, "resource_drop"):
			call = func(context.Context, api.Module, []uint64) {}
		}
		builders[module].NewFunctionBuilder().
			WithGoModuleFunction(api.GoModuleFunc(call), imported.ParamTypes(), imported.ResultTypes()).Export(name)
	}
	for _, builder := range builders {
		if _, err := builder.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// init is ruby-init: func(args: list<string>).
func (v *vm) init(ctx context.Context, args ...string) error {
	list := make([]byte, 8*len(args))
	for i, arg := range args {
		at, err := v.put(ctx, []byte(arg+"\x00"))
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(list[8*i:], uint32(at))
		binary.LittleEndian.PutUint32(list[8*i+4:], uint32(len(arg)+1))
	}
	at, err := v.put(ctx, list)
	if err != nil {
		return err
	}
	_, err = v.call(ctx, "ruby-init", at, uint64(len(args)))
	return err
}

// eval is rb-eval-string-protect: func(str: string) -> tuple<handle, state>. An exception becomes an error with
// Ruby's own text.
func (v *vm) eval(ctx context.Context, source string) error {
	if state, err := v.protect(ctx, source); err != nil || state == 0 {
		return err
	}
	if _, err := v.protect(ctx, `$__said = IO.for_fd(2, autoclose: false); $__said.write($!.full_message(highlight: false)); $__said.flush`); err != nil {
		return err
	}
	return errors.New(v.stderr.String())
}

func (v *vm) protect(ctx context.Context, source string) (state uint32, err error) {
	at, err := v.put(ctx, []byte(source))
	if err != nil {
		return 0, err
	}
	result, err := v.call(ctx, "rb-eval-string-protect", at, uint64(len(source)))
	if err != nil {
		return 0, fmt.Errorf("%w %s", err, v.stderr.String())
	}
	state, ok := v.module.Memory().ReadUint32Le(uint32(result[0]) + 4)
	if !ok {
		return 0, errors.New("no such memory")
	}
	return state, nil
}

func (v *vm) put(ctx context.Context, data []byte) (uint64, error) {
	result, err := v.call(ctx, "cabi_realloc", 0, 0, 4, uint64(len(data)))
	if err != nil {
		return 0, err
	}
	if !v.module.Memory().Write(uint32(result[0]), data) {
		return 0, errors.New("no such memory")
	}
	return result[0], nil
}

func (v *vm) call(ctx context.Context, name string, args ...uint64) ([]uint64, error) {
	function := v.module.ExportedFunction(v.exports[name])
	if function == nil {
		return nil, fmt.Errorf("ruby.wasm has no function %s", name)
	}
	return function.Call(ctx, args...)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// limited is a buffer that refuses to grow beyond max bytes.
type limited struct {
	*bytes.Buffer
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.max {
		return 0, errors.New("too much output")
	}
	return l.Buffer.Write(p)
}
