# In place of the official image of nginx, which does not log to files either.
FROM localhost/sessiond-tests/debian
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
