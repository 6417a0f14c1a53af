package cmd

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// metrics are what /metrics shows: names of ours, routes, pools and numbers; no
// ids, and nothing that came from outside.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.HistogramVec
	operations *prometheus.CounterVec
	directors  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "serviceforge_http_request_duration_seconds",
			Help: "Answers to HTTP requests.", Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60}}, []string{"method", "route", "code"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "serviceforge_operations_total",
			Help: "Operations on instances that this replica brought to their end."}, []string{"kind", "result"}),
		directors: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "serviceforge_director_request_duration_seconds",
			Help: "Requests to directors; code 0: no answer.", Buckets: []float64{.005, .02, .1, .5, 2, 10}}, []string{"pool", "method", "code"}),
	}
	m.registry.MustRegister(m.requests, m.operations, m.directors)
	return m
}

// answered counts an answer to a request. Methods that nobody serves are one.
func (m *metrics) answered(method, route string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
}

func (m *metrics) ended(kind serviceforge.Kind, result serviceforge.OperationState) {
	m.operations.WithLabelValues(string(kind), string(result)).Inc()
}

// asked counts the requests to a pool's director.
func (m *metrics) asked(pool string) func(method string, status int, took time.Duration) {
	return func(method string, status int, took time.Duration) {
		m.directors.WithLabelValues(pool, method, strconv.Itoa(status)).Observe(took.Seconds())
	}
}

// handler shows everything; what the engine has to do is looked at then.
func (m *metrics) handler(engine *orchestrator.Engine) http.Handler {
	m.registry.MustRegister(&loadCollector{engine})
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// loadCollector shows the engine's load.
type loadCollector struct{ engine *orchestrator.Engine }

var (
	leading   = prometheus.NewDesc("serviceforge_leader", "1 if this replica leads.", nil, nil)
	seen      = prometheus.NewDesc("serviceforge_store_view_revision", "Revision of the store that this replica's view has seen; one that stays behind the others' lags.", nil, nil)
	instances = prometheus.NewDesc("serviceforge_instances", "Service instances.", []string{"state"}, nil)
	placed    = prometheus.NewDesc("serviceforge_pool_instances", "Service instances in the pool.", []string{"pool"}, nil)
	inFlight  = prometheus.NewDesc("serviceforge_pool_in_flight", "Tasks of ours that the pool's director works on.", []string{"pool"}, nil)
	queued    = prometheus.NewDesc("serviceforge_pool_queue_length", "Operations that wait for a worker of the pool's director.", []string{"pool"}, nil)
)

// Describe tells the names.
func (c *loadCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leading, seen, instances, placed, inFlight, queued} {
		to <- d
	}
}

// Collect looks at the engine.
func (c *loadCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	load := c.engine.Load()
	leads := 0.0
	if load.Leading {
		leads = 1
	}
	gauge(leading, leads)
	gauge(seen, float64(load.Seen))
	for state, n := range load.Instances {
		gauge(instances, float64(n), string(state))
	}
	for _, p := range load.Pools {
		gauge(placed, float64(p.Instances), p.Name)
		gauge(inFlight, float64(p.InFlight), p.Name)
		gauge(queued, float64(p.Queued), p.Name)
	}
}
