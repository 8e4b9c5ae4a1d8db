/* pool */
#include "relaypool.h"
