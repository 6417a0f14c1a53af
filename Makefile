# make        vet and unit tests      make test   everything, with -race (needs gcc)
# make build  bin/serviceforge        make bench  figures as ratios     make lint  golangci-lint
.PHONY: all build test quick lint bench soak fuzz

all: quick

build:
	CGO_ENABLED=0 go build -o bin/serviceforge ./cmd/serviceforge

# -count=1: Go would take a spec that only runs our binary from its cache.
# Two packages at a time, for most of them wait more than they work; these want
# both cores, or the ports of the README, for themselves.
alone := bench|cluster|crash|docs
test:
	go vet ./...
	CGO_ENABLED=1 go test -race -count=1 -timeout 20m -p 2 $$(go list ./... | grep -vE '/spec/($(alone))$$')
	CGO_ENABLED=1 go test -race -count=1 -timeout 20m -p 1 $(patsubst %,./spec/%,$(subst |, ,$(alone)))

quick:
	go vet ./...
	go test $$(go list ./... | grep -v /spec/)

lint:
	golangci-lint run

# Five minutes; BENCH=-short takes about two. FIGURE=Figures/create takes one.
bench:
	go test -run '^$$' -bench '$(or $(FIGURE),Figures)' -benchtime 1x -timeout 15m $(BENCH) ./spec/bench

# The same crash specs with a thousand rounds of SIGKILL, about a quarter of an hour, and those of the cluster with
# twenty rounds of each fault, about as long.
soak:
	SERVICEFORGE_SOAK_ROUNDS=1000 go test -count=1 -timeout 90m -v -run AtRandom ./spec/crash
	SERVICEFORGE_SOAK_ROUNDS=20 go test -count=1 -timeout 90m -v ./spec/cluster

# A minute for each decoder.
fuzz:
	@for target in $$(grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$target/*_test.go | cut -c6-); do \
	    go test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s $$target || exit 1; done; done
