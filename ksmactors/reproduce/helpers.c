//: KSM
#define KSM "/sys/kernel/mm/ksm/"

//: CGROUP
#define CGROUP "/sys/fs/cgroup/ksm-reproducer"

//: PAGE
#define PAGE 4096UL

//: shared
/* What all processes of this program share. */
static struct {
	atomic_int done;		/* steps that are over */
	atomic_int failed;
	int odd;			/* which of its two values sleep_millisecs has */
@COUNTED@	pid_t pid[PROCESSES];
} *shared;

//: me
static int me = MAIN;			/* which process this is */

//: acting
static int acting;			/* whether this process does the step */

//: main_pid
static pid_t main_pid;

//: ksmd
static int ksmd;			/* its PID */

//: knobs
/* KSM's knobs, and what this program starts with. */
static const struct {
	const char *name, *start;
} knobs[] = {
	{ "run", "0" },
	{ "smart_scan", "0" },
	{ "use_zero_pages", "0" },
	{ "merge_across_nodes", "1" },
	{ "max_page_sharing", "256" },
	{ "stable_node_chains_prune_millisecs", "0" },
	{ "pages_to_scan", "0" },
	{ "sleep_millisecs", "3600000" },
};

//: KNOBS
#define KNOBS (sizeof(knobs) / sizeof(knobs[0]))

//: before
static char before[KNOBS][32];		/* what the knobs were */

//: write_file
/* Returns 0, or the errno. */
static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

//: read_file
/* Reads the start of a file, without the newline. Returns 0, or -1. */
static int read_file(const char *path, char *text, int size)
{
	int fd = open(path, O_RDONLY), length;

	if (fd < 0)
		return -1;
	length = read(fd, text, size - 1);
	close(fd);
	text[length > 0 ? length : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return length < 0 ? -1 : 0;
}

//: set_knob
/* Returns 0, or the errno. */
static int set_knob(const char *name, const char *value)
{
	char path[128] = KSM;

	return write_file(strncat(path, name, 64), value);
}

//: knob
static long knob(const char *name)
{
	char path[128], text[64] = "-1";

	snprintf(path, sizeof(path), KSM "%s", name);
	read_file(path, text, sizeof(text));
	return atol(text);
}

//: end
/* Ends a process, and waits until its memory is gone. */
static void end(int who)
{
	pid_t pid = shared->pid[who];

	shared->pid[who] = 0;
	if (!pid)
		return;
	kill(pid, SIGKILL);
	while (!kill(pid, 0))
		usleep(500);
}

//: restore
/* Ends all processes and puts the knobs back. Called by a signal, too. */
static void restore(void)
{
	unsigned int i;

	for (i = 0; i < PROCESSES; i++)
		end(i);
	set_knob("run", "2");
	for (i = KNOBS; i-- > 0;)
		if (before[i][0])
			set_knob(knobs[i].name, before[i]);
@REMOVE@}

//: quit
static void quit(int signal)
{
	static const char text[] = "interrupted, or not done in time\n";

	if (signal && write(2, text, sizeof(text) - 1) < 0)
		signal = 1;
	if (getpid() == main_pid)
		restore();
	_exit(3);
}

//: die
static void die(const char *what)
{
	perror(what);
	shared->failed = 1;
	if (me == MAIN)
		quit(0);
	_exit(3);
}

//: must
static void must(int error, const char *what)
{
	errno = error;
	if (error)
		die(what);
}

//: turn
/*
 * All processes come to each step. The one whose step it is does it; the others
 * wait until it is over, which it is when that process comes to the next one.
 */
static int turn(int who)
{
	static int step;

	if (acting)
		shared->done++;
	while (shared->done < step) {
		if (shared->failed || kill(main_pid, 0))
			quit(0);
		usleep(500);
	}
	step++;
	return acting = me == who;
}

//: woken
static void woken(int signal)
{
	(void)signal;
}

//: let_signals_end_calls
/* A signal to this process ends its system call, and not the process. */
static void let_signals_end_calls(void)
{
	struct sigaction action = { .sa_handler = woken };

	sigaction(SIGUSR1, &action, NULL);
}

//: pipes
static int pipes[PIPES][2];		/* a pinned page is in each that is open */

//: pin
/* vmsplice(2) of a page into a pipe: a reference to it, without a write. */
static void pin(int number, char *at)
{
	struct iovec page = { at, PAGE };

	if (pipe(pipes[number]) || vmsplice(pipes[number][1], &page, 1, 0) != (long)PAGE)
		die("vmsplice");
}

//: unpin
static void unpin(int number)
{
	close(pipes[number][0]);
	close(pipes[number][1]);
	pipes[number][0] = 0;
}

//: start
/* Forks: the new process goes on with the next step. */
static void start(int who)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0) {
		shared->pid[who] = pid;
		return;
	}
	me = who;
	acting = 0;
@CHILD@}

//: map_anywhere
/* Maps private memory where nothing else is. */
static void map_anywhere(char *at, long pages)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	if (mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0) != at)
		die("mmap");
}

//: map
/* Maps private memory, bound to a node. */
static void map(char *at, long pages, int node)
{
	unsigned long nodes = 1UL << node;

	map_anywhere(at, pages);
	if (syscall(SYS_mbind, at, pages * PAGE, MPOL_BIND, &nodes, 65UL, 0))
		die("mbind");
}

//: fill
/* Fills each page with a number of its own: first, first + stride, ... */
static void fill(char *at, long pages, unsigned long first, unsigned long stride)
{
	unsigned long *word;

	for (; pages-- > 0; at += PAGE, first += stride)
		for (word = (unsigned long *)at; (char *)word < at + PAGE; word++)
			*word = htobe64(first);
}

//: wrong_pages
/* How many pages do not hold what fill() wrote. */
static long wrong_pages(char *at, long pages, unsigned long first, unsigned long stride)
{
	unsigned long *word;
	long wrong = 0;

	for (; pages-- > 0; at += PAGE, first += stride)
		for (word = (unsigned long *)at; (char *)word < at + PAGE; word++)
			if (*word != htobe64(first)) {
				wrong++;
				break;
			}
	return wrong;
}

//: touch
static void touch(char *at, long pages)
{
	for (; pages-- > 0; at += PAGE)
		*(volatile char *)at;
}

//: advise
/* madvise(2): 0 or the errno. */
static int advise(char *at, long pages, int advice)
{
	return madvise(at, pages * PAGE, advice) ? errno : 0;
}

//: move_mapping
/* mremap(2): 0 or the errno. */
static int move_mapping(char *at, long pages, char *to)
{
	return mremap(at, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ? 0 : errno;
}

//: unmap
static int unmap(char *at, long pages)
{
	return munmap(at, pages * PAGE) ? errno : 0;
}

//: lock_pages
static int lock_pages(char *at, long pages)
{
	return mlock(at, pages * PAGE) ? errno : 0;
}

//: unlock_pages
static int unlock_pages(char *at, long pages)
{
	return munlock(at, pages * PAGE) ? errno : 0;
}

//: read_remotely
/* process_vm_readv(2) of each page: 0 or the errno. */
static int read_remotely(int who, char *at, long pages)
{
	static char copy[PAGE];

	for (; pages-- > 0; at += PAGE) {
		struct iovec here = { copy, PAGE }, there = { at, PAGE };

		if (process_vm_readv(shared->pid[who], &here, 1, &there, 1, 0) < 0)
			return errno;
	}
	return 0;
}

//: node_of
/* The node that a page is on, or a negative errno. */
static long node_of(int who, char *at)
{
	void *page = at;
	int status = -1;

	if (syscall(SYS_move_pages, shared->pid[who], 1UL, &page, NULL, &status, 0))
		return -errno;
	return status;
}

//: move_page
/* 0 if the page is on that node now; else what move_pages(2) says of it. */
static long move_page(int who, char *at, int node, int flags)
{
	void *page = at;
	int status = 0;
	long left = syscall(SYS_move_pages, shared->pid[who], 1UL, &page, &node, &status, flags);

	if (left)
		return left < 0 ? -errno : left;
	return status < 0 ? status : status != node;
}

//: frame_of
/* The page frame number, from pagemap; 0 if there is none. */
static unsigned long frame_of(int who, char *at)
{
	unsigned long entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", shared->pid[who]);
	fd = open(path, O_RDONLY);
	if (fd < 0 || pread(fd, &entry, 8, (unsigned long)at / PAGE * 8) != 8)
		die(path);
	close(fd);
	return entry >> 63 ? entry & ((1UL << 55) - 1) : 0;
}

//: one_frame
/* Whether two pages share a page frame. */
static int one_frame(int who, char *at, int other, char *there)
{
	unsigned long frame = frame_of(who, at);

	return frame && frame == frame_of(other, there);
}

//: ksm_stat
/* A number of /proc/PID/ksm_stat. */
static long ksm_stat(int who, const char *name)
{
	char path[64], word[64];
	long value, found = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/ksm_stat", shared->pid[who]);
	file = fopen(path, "r");
	while (file && fscanf(file, "%63s %ld", word, &value) == 2)
		if (!strncmp(word, name, strlen(name)))
			found = value;
	if (file)
		fclose(file);
	return found;
}

//: reclaim
/* Reclaims memory of these processes, which are in a memory cgroup of their own. */
static void reclaim(const char *bytes)
{
	int i;

	for (i = 0; i < 8; i++)		/* a page that was accessed lately takes more than one */
		write_file(CGROUP "/memory.reclaim", bytes);
}

//: has_swap
static int has_swap(void)
{
	char text[512] = "";
	int fd = open("/proc/swaps", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return 0;
	close(fd);
	return strchr(text, '/') || strchr(text, ':');	/* a file, or a device */
}

//: find_ksmd
static void find_ksmd(void)
{
	DIR *proc = opendir("/proc");
	char path[300], name[32];
	struct dirent *entry;

	while (proc && !ksmd && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (atoi(entry->d_name) && !read_file(path, name, sizeof(name)) && !strcmp(name, "ksmd"))
			ksmd = atoi(entry->d_name);
	}
	closedir(proc);
	if (!ksmd)
		die("ksmd is not in /proc");
}

//: ksmd_died
/* Nothing is put back: ksmd has died with locks held, so a write could wait for ever. */
static void ksmd_died(void)
{
	int i;

	printf("DEFECT: ksmd has died. See dmesg. Restart this machine.\n");
	for (i = 0; i < PROCESSES; i++)
		if (shared->pid[i])
			kill(shared->pid[i], SIGKILL);
	_exit(1);
}

//: asleep
/* Whether ksmd sleeps between two batches. */
static int asleep(void)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "/proc/%d/stat", ksmd);
	if (read_file(path, text, sizeof(text)))
		ksmd_died();
	if (!strstr(text, ") S"))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/wchan", ksmd);
	return !read_file(path, text, sizeof(text)) && !strcmp(text, "ksm_scan_thread");
}

//: sleeps
/* How often ksmd has gone to sleep. */
static long sleeps(void)
{
	char path[64], line[128];
	long count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", ksmd);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "voluntary_ctxt_switches: %ld", &count);
	if (file)
		fclose(file);
	return count;
}

//: rest
static void rest(void)
{
	while (!asleep())
		usleep(100);
}

//: ready_batch
/* The next batch of ksmd is of up to this many pages, at most to the end of the scan. */
static void ready_batch(const char *pages)
{
	syscall(SYS_move_pages, 0, 0UL, NULL, NULL, NULL, MPOL_MF_MOVE);	/* drains the LRU batches */
	set_knob("pages_to_scan", pages);
}

//: run_batch
/* Writing another sleep_millisecs ends ksmd's sleep at once, for one batch. */
static void run_batch(void)
{
	long slept = sleeps();

	shared->odd = !shared->odd;
	set_knob("sleep_millisecs", shared->odd ? "3600001" : "3600000");
	if (!asleep() || sleeps() != slept)
		rest();
	set_knob("pages_to_scan", "0");
}

//: batch
/* One batch of ksmd. */
static void batch(const char *pages)
{
	ready_batch(pages);
	run_batch();
}

//: scan
/* Full scans, one after the other; none is made where ksmd has nothing to do. */
static void scan(int count)
{
	long scans;

	do {
		scans = knob("full_scans");
		batch("4294967295");
	} while (--count > 0 && knob("full_scans") != scans);
}

//: steps
/* As many batches of one page each. */
static void steps(int count)
{
	while (count-- > 0)
		batch("1");
}

//: note
static void note(const char *text)
{
	printf("%s\n", text);
}

//: expect
/* Compares what is seen with what kernels with and without the defect show. */
static void expect(const char *what, long seen, long broken, long repaired)
{
	const char *is = seen == broken ? "defect" : seen == repaired ? "no defect" : "neither";

	printf("%s: %ld  (%s; with the defect %ld, without %ld)\n", what, seen, is, broken, repaired);
	shared->seen++;
	shared->broken += seen == broken;
	shared->repaired += seen == repaired;
}

//: expect_value
/* Compares what is seen with what the emulated kernel shows. */
static void expect_value(const char *what, long seen, long expected)
{
	printf("%s: %ld", what, seen);
	printf(seen == expected ? "\n" : "  <- differs: %ld is expected\n", expected);
	shared->seen++;
	shared->repaired += seen == expected;
}

//: open_ksm
/* Take KSM, remember its knobs, and set them to what this program starts with. */
static void open_ksm(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGALRM };
	char path[128], advisor[64] = "[none]";
	unsigned int i;

	setlinebuf(stdout);
	main_pid = getpid();
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);	/* so that end() sees each of them go */
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	read_file(KSM "advisor_mode", advisor, sizeof(advisor));
	if (shared == MAP_FAILED || geteuid() || access(KSM "run", W_OK)) {
		fprintf(stderr, "needs root, and a kernel with CONFIG_KSM\n");
		exit(2);
	}
@NEEDS@	if (knob("run") || knob("pages_shared") || !strstr(advisor, "[none]")) {
		fprintf(stderr, "KSM is in use: stop its users, then write 2 and 0 to " KSM "run\n");
		exit(2);
	}
	find_ksmd();
	for (i = 0; i < KNOBS; i++) {
		snprintf(path, sizeof(path), KSM "%s", knobs[i].name);
		read_file(path, before[i], sizeof(before[i]));
	}
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], quit);
	alarm(600);
	set_knob("run", "2");
	for (i = 0; i < KNOBS; i++)
		set_knob(knobs[i].name, knobs[i].start);
	rest();
@CGROUP@}

//: verdict
/* Puts all back, and says what was found. */
static void verdict(void)
{
	int seen = shared->seen, broken = shared->broken, repaired = shared->repaired;

	restore();
	if (broken == seen)
		printf("DEFECT: all %d observations are those of a kernel with the defect\n", seen);
	else if (repaired == seen)
		printf("NO DEFECT: all %d observations are those of a repaired kernel\n", seen);
	else
		printf("UNCLEAR: of %d observations %d say defect, and %d say no defect\n", seen, broken, repaired);
	exit(broken == seen ? 1 : repaired == seen ? 0 : 4);
}

//: verdict_values
/* Puts all back, and says what was found. */
static void verdict_values(void)
{
	int seen = shared->seen, equal = shared->repaired;

	restore();
	printf("%s: %d of %d observations are as expected\n", equal == seen ? "SAME" : "DIFFERENT", equal, seen);
	exit(equal != seen);
}

//: verdict_alive
/* Puts all back; ksmd has survived. */
static void verdict_alive(void)
{
	restore();
	printf("NO DEFECT: ksmd has done all steps and is alive\n");
	exit(0);
}

//: now_us
static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

//: draw
/* A number below the limit, the same for the same round, process and call (splitmix64). */
static unsigned long draw(unsigned long limit)
{
	static unsigned long calls;
	unsigned long long x = ++calls * 64 + me + shared->rounds * 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (x ^ x >> 31) % limit;
}

//: delay
/* Waits for a time that is drawn, often a short one, and at most as long as the slowest of those who race needs. */
static void delay(void)
{
	long until = now_us() + draw((shared->slowest_us >> draw(6)) + 1);

	while (now_us() < until)
		;
}

//: began_us
static long began_us;			/* when this process began to race */

//: race
/*
 * Like turn(), for a step that several processes do at the same time: true in
 * each of them, once all are there and each has waited for a time of its own.
 */
static int race(unsigned long racers)
{
	turn(-1);
	if (!(racers >> me & 1))
		return 0;
	shared->ready++;
	while (shared->ready < __builtin_popcountl(racers)) {
		if (shared->failed || kill(main_pid, 0))
			quit(0);
		sched_yield();
	}
	delay();
	began_us = now_us();
	return 1;
}

//: race_over
/* The step is over when each of them has come here. */
static void race_over(unsigned long racers)
{
	long took = now_us() - began_us;

	if (!(racers >> me & 1))
		return;
	if (took > shared->slowest_us)
		shared->slowest_us = took;
	if (++shared->over < __builtin_popcountl(racers))
		return;
	shared->slowest_us -= shared->slowest_us / 64;
	shared->ready = shared->over = 0;
	shared->done++;
}

//: interrupt
/* Sends a signal that ends a system call. */
static void interrupt(int who)
{
	if (shared->pid[who] > 0)
		kill(shared->pid[who], SIGUSR1);
}

//: see
/* Compares what is seen with what a kernel with the defect shows. All is printed in the first round. */
static void see(const char *what, long seen, long with_defect)
{
	if (!shared->rounds)
		printf("first round, %s: %ld  (@HIT@ %ld)\n", what, seen, with_defect);
	shared->seen++;
	shared->broken += seen == with_defect;
}

//: seconds
static int seconds;			/* how long to repeat the scene */

//: started_us
static long started_us;

//: begin
/* Sets the time: seconds from the command line, or a minute. */
static void begin(int argc, char **argv)
{
	seconds = argc > 1 ? atoi(argv[1]) : 60;
	if (seconds < 1 || seconds > 1000000) {
		fprintf(stderr, "usage: %s [SECONDS]\n", argv[0]);
		restore();
		exit(2);
	}
	alarm(seconds + 600);
	started_us = now_us();
}

//: round_over
/*
 * Ends all processes, takes everything apart, and counts the round. True if
 * there is time for another one.
 */
static int round_over(void)
{
	unsigned int i;

	for (i = 0; i < PROCESSES; i++)
		end(i);
	shared->rounds++;
	if (shared->seen && shared->seen == shared->broken) {
		if (++shared->hits <= 10)
			printf("@HIT@ in round %ld, after %ld ms\n", shared->rounds,
			       (now_us() - started_us) / 1000);
	}
	shared->seen = shared->broken = 0;
	set_knob("run", "2");
	for (i = 0; i < KNOBS; i++)
		set_knob(knobs[i].name, knobs[i].start);
	rest();
	return now_us() < started_us + seconds * 1000000L;
}

//: verdict_of_rounds
/* Puts all back, and says how often it was met. */
static void verdict_of_rounds(void)
{
	long rounds = shared->rounds, hits = shared->hits;

	restore();
	if (hits)
		printf("@VERDICT@: %ld of %ld rounds in %d s\n", hits, rounds, seconds);
	else
		printf("@NOVERDICT@ in %ld rounds in %d s (that proves nothing: the race is left to chance; the guest recipe "
		       "at the top of the program constructs it)\n", rounds, seconds);
	exit(@STATUS@);
}
