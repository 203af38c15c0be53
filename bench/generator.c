/* The load of all comparisons: one thread that asks as many clients would, and looks at every answer.

   In:  prepared heads, a sequence of slug numbers, and how to ask. Out: one line of JSON.

   closed loop   each client asks again when its answer has come: how many can a server answer?
   open loop     (--rate) requests come by themselves, as visitors do, at random (Poisson) moments; a latency counts
                 from the moment a request was due, also when no client was free or this program was late. So a
                 server that stops for a second is charged for everybody who would have come in it.
   --close       a new connection for each request; the client closes after the server did
   --depth N     N requests in one write, the next N when all are answered

   At the end no new request is sent and those under way are waited for, so counts of both sides can be compared.
   Compiled by bench/load.py; needs Linux. Nothing is allocated while it runs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADS_MAX = 8192,
    DEPTH_MAX = 64,
    REQUEST_BYTES_MAX = 2048,
    INPUT_BYTES = 64 * 1024,  /* 64 pipelined answers of 1 KiB */
    EVENTS_MAX = 256,
    DRAIN_MS = 3000,
    STALL_MS = 10000,         /* without any answer: it ends */
    SOURCES = 64,             /* addresses 127.1.0.x to connect from, so that ports don't run out */
    SUB = 128,                /* steps of the histogram within a power of two: 0.8 % */
    STEPS = (64 - 7) * SUB,
};

struct text { char *bytes; size_t size; };

struct client {
    int fd;
    unsigned waiting;         /* answers that have not come */
    int connecting;           /* the request waits until the socket can be written */
    int is_idle;              /* while reconnecting: is among the idle ones already */
    uint64_t due_ns;
    size_t held;
    char input[INPUT_BYTES];
};

/* From the first request until the time is up, or all is answered. */
struct span { uint64_t begin_ns, end_ns, answered; };

static struct text heads[HEADS_MAX], other;
static struct client **idle;
static size_t idle_count;
static struct epoll_event events[EVENTS_MAX];
static uint32_t *slugs;
static size_t heads_count, slugs_count, slug_next;
static const char *prefix = "/b";
static int port, closing, poller;
static unsigned depth = 1, every;
static double seconds = 1e9, rate;  /* rate 0: a closed loop */
static size_t clients_count = 64;
static uint64_t sent, answered, failed, unsent, connections;
static uint64_t sent_limit = UINT64_MAX;
static uint64_t statuses[1000], latency[STEPS], lateness[STEPS];
static uint64_t seed = 88172645463325252ull;

static void stop(const char *what) {
    fprintf(stderr, "generator: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static uint64_t next_random(void) {  /* xorshift64, Marsaglia 2003 */
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* A histogram whose steps grow with the value. */
static void note(uint64_t *steps, uint64_t ns) {
    unsigned shift = ns < SUB ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - 6;
    steps[shift * (SUB / 2) + (ns >> shift)]++;
}

static double quantile_us(const uint64_t *steps, double share) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < STEPS; i++) total += steps[i];
    for (size_t i = 0; i < STEPS; i++) {
        seen += steps[i];
        if (steps[i] && (double)seen >= share * (double)total) {
            size_t shift = i < SUB ? 0 : i / (SUB / 2) - 1;
            return (double)((i - shift * (SUB / 2)) << shift) / 1000.0;
        }
    }
    return 0.0;
}

static struct text read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) stop(path);
    struct text text = {NULL, (size_t)ftell(file)};
    rewind(file);
    text.bytes = malloc(text.size + 1);
    if (!text.bytes || fread(text.bytes, 1, text.size, file) != text.size) stop(path);
    fclose(file);
    return text;
}

/* Each head has its length (16 bits, little-endian) before it. */
static void read_heads(const char *path) {
    struct text all = read_file(path);
    for (size_t at = 0; at + 2 <= all.size && heads_count < HEADS_MAX; heads_count++) {
        size_t size = (unsigned char)all.bytes[at] | (size_t)(unsigned char)all.bytes[at + 1] << 8;
        if (size > REQUEST_BYTES_MAX - 200) stop("a head is too long");
        heads[heads_count] = (struct text){all.bytes + at + 2, size};
        at += 2 + size;
    }
}

static char *put(char *to, const char *bytes, size_t size) {
    memcpy(to, bytes, size);
    return to + size;
}

static char *put_number(char *to, uint32_t number) {
    char digits[10];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10); while (number /= 10);
    while (count) *to++ = digits[--count];
    return to;
}

static void watch(struct client *client, int change, uint32_t wanted) {
    struct epoll_event event = {.events = wanted, .data = {.ptr = client}};
    if (epoll_ctl(poller, change, client->fd, &event)) stop("epoll_ctl");
}

/* Writes the next `depth` requests at once. */
static void ask(struct client *client) {
    static char out[DEPTH_MAX * REQUEST_BYTES_MAX];
    char *to = out;
    unsigned count = 0;
    for (; count < depth && sent + count < sent_limit; count++) {
        if (every && (sent + count) % every == every - 1) {
            to = put(to, other.bytes, other.size);
            continue;
        }
        struct text *head = &heads[(next_random() >> 20) % heads_count];
        to = put(put(to, "GET ", 4), prefix, strlen(prefix));
        to = put(put_number(to, slugs[slug_next]), " HTTP/1.1\r\n", 11);
        to = put(to, head->bytes, head->size);
        slug_next = slug_next + 1 == slugs_count ? 0 : slug_next + 1;
    }
    sent += count;
    client->waiting = count;
    client->held = 0;
    ssize_t size = to - out;
    if (count && send(client->fd, out, (size_t)size, MSG_NOSIGNAL) != size) unsent++;
}

static void open_client(struct client *client) {
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    from.sin_addr.s_addr = htonl(0x7f010001u + connections++ % SOURCES);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) stop("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from)) stop("bind");
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) stop("connect");
    client->waiting = 0;
    client->held = 0;
    client->connecting = 1;
    watch(client, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Asks at `due_ns`, on the connection that is there or on a new one. */
static void begin(struct client *client, uint64_t due_ns) {
    client->due_ns = due_ns;
    if (closing) open_client(client);  /* and asks when it is connected */
    else ask(client);
}

static int is_field(const char *line, size_t left, const char *name) {
    size_t size = strlen(name);
    return (*line | 32) == *name && left > size && !strncasecmp(line, name, size);
}

/* Bytes of the first whole answer in `input`, 0 when it is not whole, -1 when it cannot be framed. */
static ssize_t measure_answer(char *input, size_t held) {
    char *end = input + held, *line = input;
    size_t body = 0;
    while ((line = memchr(line, '\n', (size_t)(end - line))) && ++line < end) {
        if (*line == '\r') return line + 2 + body <= end ? line + 2 + body - input : 0;
        size_t left = (size_t)(end - line);
        if (is_field(line, left, "content-length:")) body = strtoul(line + 15, NULL, 10);
        if (is_field(line, left, "transfer-encoding:")) return -1;
    }
    return 0;
}

static void take_answers(struct client *client, uint64_t at_ns) {
    size_t position = 0;
    while (client->waiting) {
        char *input = client->input + position;
        ssize_t size = measure_answer(input, client->held - position);
        if (size == 0) break;
        unsigned status = size > 12 && !memcmp(input, "HTTP/1.", 7) ? (unsigned)strtoul(input + 9, NULL, 10) : 0;
        statuses[status < 1000 ? status : 0]++;
        note(latency, at_ns - client->due_ns);
        client->waiting--;
        answered++;
        if (size < 0) { failed++; client->held = position = 0; break; }
        position += (size_t)size;
    }
    client->held -= position;
    if (client->held && position) memmove(client->input, client->input + position, client->held);
}

/* Reads what has come; 1 when the client is free to ask again. */
static int on_event(struct client *client) {
    if (client->connecting) {
        client->connecting = 0;
        if (closing && sent >= sent_limit) {  /* others have asked all there was to ask */
            close(client->fd);
            return 1;
        }
        watch(client, EPOLL_CTL_MOD, EPOLLIN);
        if (closing) ask(client);
        return !closing && !client->is_idle;
    }
    ssize_t size = recv(client->fd, client->input + client->held, INPUT_BYTES - client->held - 1, 0);
    if (size < 0 && errno == EAGAIN) return 0;
    if (size > 0) {
        client->held += (size_t)size;
        client->input[client->held] = 0;
        if (client->waiting) take_answers(client, now_ns());
        return !client->waiting && !closing;
    }
    /* Gone: as it should be with --close, else somebody waits in vain, or an idle client was cut off. */
    failed += client->waiting;
    close(client->fd);
    if (closing) return 1;
    client->is_idle = !client->waiting;
    failed += (unsigned)client->is_idle;
    open_client(client);
    return 0;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
           + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void read_options(int count, char **words) {
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"heads", 1, 0, 'h'}, {"slugs", 1, 0, 's'}, {"prefix", 1, 0, 'x'},
        {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 't'}, {"requests", 1, 0, 'n'}, {"rate", 1, 0, 'r'},
        {"depth", 1, 0, 'd'}, {"close", 0, 0, 'k'}, {"other", 1, 0, 'o'}, {"every", 1, 0, 'e'},
        {"skip", 1, 0, 'j'}, {0, 0, 0, 0}};
    struct text numbers = {NULL, 0};
    for (int option; (option = getopt_long(count, words, "", options, NULL)) != -1;) switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'h': read_heads(optarg); break;
        case 's': numbers = read_file(optarg); break;
        case 'x': prefix = optarg; break;
        case 'c': clients_count = strtoul(optarg, NULL, 10); break;
        case 't': seconds = atof(optarg); break;
        case 'n': sent_limit = strtoull(optarg, NULL, 10); break;
        case 'r': rate = atof(optarg); break;
        case 'd': depth = (unsigned)atoi(optarg); break;
        case 'k': closing = 1; break;
        case 'o': other = read_file(optarg); break;
        case 'e': every = (unsigned)atoi(optarg); break;
        case 'j': slug_next = strtoull(optarg, NULL, 10); break;
        default: exit(2);
    }
    slugs = (uint32_t *)numbers.bytes;
    slugs_count = numbers.size / sizeof *slugs;
    int is_whole = port && heads_count && slugs_count && clients_count && (!every || other.size);
    if (!is_whole || !depth || depth > DEPTH_MAX || other.size > REQUEST_BYTES_MAX) {
        fprintf(stderr, "generator: --port, --heads, --slugs; --depth at most %d; --every needs --other\n", DEPTH_MAX);
        exit(2);
    }
    slug_next %= slugs_count;
}

/* Connects everybody; with --close, each connects when it asks. */
static void open_all(struct client *clients) {
    for (size_t i = 0; i < clients_count; i++)
        if (closing) idle[idle_count++] = &clients[i];
        else open_client(&clients[i]);
    while (idle_count < clients_count) {
        int ready = epoll_wait(poller, events, EVENTS_MAX, DRAIN_MS);
        if (ready <= 0) stop("no connection");
        for (int i = 0; i < ready; i++) if (on_event(events[i].data.ptr)) idle[idle_count++] = events[i].data.ptr;
    }
}

/* The moment after `due_ns` when somebody comes, if visitors don't know of each other. */
static double next_due_ns(double due_ns) {
    double share = (double)((next_random() >> 11) + 1) / 9007199254740993.0;  /* above 0, at most 1 */
    return due_ns - log(share) * 1e9 / rate;
}

/* Asks until the time is up or all was asked, and waits for what is under way. */
static struct span run(void) {
    struct span span = {now_ns(), 0, 0};
    uint64_t end_ns = span.begin_ns + (uint64_t)(seconds * 1e9);
    uint64_t free_ns = span.begin_ns;  /* since when a client is free */
    uint64_t seen = 0, seen_ns = span.begin_ns;
    double due_ns = (double)span.begin_ns;
    for (;;) {
        uint64_t at_ns = now_ns();
        if (answered != seen) seen = answered, seen_ns = at_ns;
        int is_over = at_ns >= end_ns || (sent >= sent_limit && answered + failed >= sent)
                      || at_ns > seen_ns + STALL_MS * 1000000ull;
        if (!span.end_ns && is_over) span.end_ns = at_ns, span.answered = answered;
        if (span.end_ns && (idle_count == clients_count || at_ns > span.end_ns + DRAIN_MS * 1000000ull)) return span;
        while (!span.end_ns && sent < sent_limit && idle_count && (rate <= 0 || due_ns <= (double)at_ns)) {
            if (rate <= 0) {
                begin(idle[--idle_count], at_ns);
                continue;
            }
            uint64_t could_ns = (uint64_t)due_ns > free_ns ? (uint64_t)due_ns : free_ns;
            note(lateness, at_ns - could_ns);  /* waiting for a free client is the server's doing */
            begin(idle[--idle_count], (uint64_t)due_ns);
            due_ns = next_due_ns(due_ns);
        }
        /* In an open loop it looks all the time: a sleep would end 50 us late. */
        int ready = epoll_wait(poller, events, EVENTS_MAX, rate > 0 && !span.end_ns ? 0 : 20);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (!on_event(client)) continue;
            if (rate <= 0 && !span.end_ns && sent < sent_limit) {
                begin(client, now_ns());
                continue;
            }
            if (!idle_count) free_ns = now_ns();
            idle[idle_count++] = client;
        }
    }
}

static void print_number(const char *name, uint64_t value) {
    printf("\"%s\": %llu, ", name, (unsigned long long)value);
}

static void report(struct span span, double used_s) {
    printf("{");
    print_number("in_time", span.answered);
    print_number("sent", sent);
    print_number("answered", answered);
    print_number("failed", failed);
    print_number("unsent", unsent);
    static const struct { const char *name; double share; } quantiles[] = {
        {"p50_us", .5}, {"p95_us", .95}, {"p99_us", .99}, {"p999_us", .999}, {"max_us", 1.0}};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        printf("\"%s\": %.1f, ", quantiles[i].name, quantile_us(latency, quantiles[i].share));
    printf("\"late_p99_us\": %.1f, \"statuses\": {", quantile_us(lateness, .99));
    const char *comma = "";
    for (int i = 0; i < 1000; i++) if (statuses[i]) {
        printf("%s\"%d\": %llu", comma, i, (unsigned long long)statuses[i]);
        comma = ", ";
    }
    printf("}, \"cpu_s\": %.4f, \"seconds\": %.6f}\n", used_s, (double)(span.end_ns - span.begin_ns) / 1e9);
}

int main(int count, char **words) {
    read_options(count, words);
    struct client *clients = calloc(clients_count, sizeof *clients);
    idle = calloc(clients_count, sizeof *idle);
    poller = epoll_create1(0);
    if (!clients || !idle || poller < 0) stop("start");
    open_all(clients);
    double before_s = cpu_s();
    struct span span = run();
    report(span, cpu_s() - before_s);
    return 0;
}
