// Runs main methods of Apache Kafka's command-line tools one after another in one JVM: starting a JVM takes longer than
// what most tools do. Started from source (`java JavaTools.java`); reads requests from stdin until it ends.
//
// request:  number of strings, then for each its length and its bytes: class, what stdin holds, arguments
// reply:    exit status, then length and bytes of what was printed on stdout, and of what was printed on stderr

import java.io.*;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.utils.Exit;

public class JavaTools {
    // What a tool throws instead of ending the JVM. An Error, so that it passes through handlers of exceptions.
    static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    // System.out and System.err stay the same for ever, as some classes keep them: what is behind them changes.
    static final class Switched extends OutputStream {
        private ByteArrayOutputStream behind = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int octet) {
            if (Thread.currentThread() != unwinding) behind.write(octet);
        }

        @Override
        public synchronized void write(byte[] octets, int from, int length) {
            if (Thread.currentThread() != unwinding) behind.write(octets, from, length);
        }

        synchronized byte[] taken() {
            byte[] all = behind.toByteArray();
            behind = new ByteArrayOutputStream();
            return all;
        }
    }

    static final Switched OUT = new Switched();
    static final Switched ERR = new Switched();
    static Integer status;

    // The thread that has ended the tool. It still leaves the tool's methods, closing what they opened on the way, but
    // what it prints there nobody would see: some tools catch all that is thrown and complain of it.
    static volatile Thread unwinding;

    static synchronized void ended(int wanted) {
        if (status == null) status = wanted;
        unwinding = Thread.currentThread();
        throw new Ended();
    }

    public static void main(String[] ignored) throws Exception {
        DataInputStream requests = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream replies = new DataOutputStream(new BufferedOutputStream(System.out));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> ended(code));
        Exit.setHaltProcedure((code, message) -> ended(code));
        while (true) {
            String[] request;
            try {
                request = read(requests);
            } catch (EOFException end) {
                Runtime.getRuntime().halt(0);
                return;
            }
            int code = run(request);
            System.out.flush();
            System.err.flush();
            replies.writeInt(code);
            for (Switched stream : List.of(OUT, ERR)) {
                byte[] printed = stream.taken();
                replies.writeInt(printed.length);
                replies.write(printed);
            }
            replies.flush();
        }
    }

    static String[] read(DataInputStream requests) throws IOException {
        String[] request = new String[requests.readInt()];
        for (int i = 0; i < request.length; i++) {
            request[i] = new String(requests.readNBytes(requests.readInt()), StandardCharsets.UTF_8);
        }
        return request;
    }

    // As a JVM of its own would: main, then the threads it left behind, then the shutdown hooks.
    static int run(String[] request) throws ReflectiveOperationException, InterruptedException {
        status = null;
        unwinding = null;
        Map<Thread, Thread> hooks = shutdownHooks();
        Set<Thread> before = Set.copyOf(hooks.keySet());
        System.setIn(new ByteArrayInputStream(request[1].getBytes(StandardCharsets.UTF_8)));
        String[] arguments = Arrays.copyOfRange(request, 2, request.length);
        ThreadGroup group = new ThreadGroup("tool");
        Thread tool = new Thread(group, () -> call(request[0], arguments), "main");
        tool.start();
        tool.join();
        Thread[] left = new Thread[64];
        int count = status == null ? group.enumerate(left) : 0;
        for (int i = 0; i < count; i++) {
            if (!left[i].isDaemon()) left[i].join();
        }
        for (Thread hook : List.copyOf(hooks.keySet())) {
            if (before.contains(hook)) continue;
            hooks.remove(hook);
            hook.start();
            hook.join();
        }
        return status == null ? 0 : status;
    }

    // The JVM's own list of what runs at its end (--add-opens java.base/java.lang=ALL-UNNAMED).
    @SuppressWarnings("unchecked")
    static Map<Thread, Thread> shutdownHooks() throws ReflectiveOperationException {
        Field field = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
        field.setAccessible(true);
        return (Map<Thread, Thread>) field.get(null);
    }

    static void call(String name, String[] arguments) {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Ended)) failed(thrown.getCause());
        } catch (ReflectiveOperationException thrown) {
            failed(thrown);
        }
    }

    static synchronized void failed(Throwable thrown) {
        thrown.printStackTrace();
        if (status == null) status = 1;
    }
}
