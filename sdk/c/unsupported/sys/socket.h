/* What a package cannot do with the types that are there. */
#pragma once
#include_next <sys/socket.h>

#define RECOIL_NO_SOCKETS \
    __attribute__((unavailable("sockets are not supported: a listener is given its connections, and recoil_call reaches partitions")))

int socket(int domain, int type, int protocol) RECOIL_NO_SOCKETS;
int connect(int socket, const struct sockaddr *address, socklen_t length) RECOIL_NO_SOCKETS;
int bind(int socket, const struct sockaddr *address, socklen_t length) RECOIL_NO_SOCKETS;
int listen(int socket, int backlog) RECOIL_NO_SOCKETS;
