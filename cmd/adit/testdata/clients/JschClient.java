import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Proxy;
import com.jcraft.jsch.Session;
import com.jcraft.jsch.SocketFactory;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;

/**
 * Connects with JSch, as Java's database clients do, by a Proxy that runs a
 * command: JSch has no ProxyCommand of its own. Says CONNECTED or the error.
 */
public class JschClient {
    static class Command implements Proxy {
        private final String line;
        private Process process;

        Command(String line) { this.line = line; }

        public void connect(SocketFactory factory, String host, int port, int timeout) throws Exception {
            process = new ProcessBuilder("/bin/sh", "-c", "exec " + line).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        }

        public InputStream getInputStream() { return process.getInputStream(); }

        /** What nobody takes is dropped: Java closes the pipe to a process that has ended, and JSch
         *  writes its version before it reads what the process has said. */
        public OutputStream getOutputStream() {
            OutputStream out = process.getOutputStream();
            return new OutputStream() {
                @Override public void write(int b) { write(new byte[] { (byte) b }, 0, 1); }
                @Override public void write(byte[] b, int from, int n) {
                    try { out.write(b, from, n); out.flush(); } catch (IOException gone) { }
                }
            };
        }

        public Socket getSocket() { return null; }

        public void close() {
            if (process != null) {
                process.destroy();
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Session session = new JSch().getSession("nobody-to-let-in", "server", 22);
        session.setProxy(new Command(args[0]));
        session.setConfig("StrictHostKeyChecking", "no"); // as far as the handshake
        session.setConfig("PreferredAuthentications", "none");
        try {
            session.connect(10000);
            System.out.println("CONNECTED");
        } catch (Exception e) {
            // The server lets nobody in like this, but has shown its key by then.
            System.out.println(session.getHostKey() != null ? "CONNECTED" : "error: " + e.getMessage());
        } finally {
            session.disconnect();
        }
        System.exit(0);
    }
}
