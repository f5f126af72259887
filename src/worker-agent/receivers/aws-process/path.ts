/** The one path that the socket answers: `curl --unix-socket SOCKET http://localhost/v1/aws/credentials`. */
export const AWS_PROCESS_PATH = "/v1/aws/credentials";
