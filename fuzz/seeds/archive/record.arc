filedesc://a.arc 127.0.0.1 20140216050221 text/plain 75
1 0 alexa
URL IP-address Archive-date Content-type Archive-length


http://a/ 1.2.3.4 20140216050221 text/html 80
<html><head><title>t</title></head><body><p>你好，世界。</p></body></html>
